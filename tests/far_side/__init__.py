"""The other ends of connectors, as real servers that behave or misbehave as a test tells them."""
