"""What `make bench` measures, on throw-away servers of its own."""
