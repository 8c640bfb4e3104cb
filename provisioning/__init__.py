"""What is delivered: service instances, and the runs and steps that make them."""
