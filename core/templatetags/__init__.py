"""Template tags and filters, loaded as `greenlane`."""
