"""What people ask for, and the life of an order from there."""
