"""What others may start from."""
