"""A connector of one's own, to copy: see docs/connectors.md, “A connector of your own”."""
