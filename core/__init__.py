"""A few small tools that every app stands on."""
