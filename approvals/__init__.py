"""Whether an order is allowed: checks by machine, later exceptions by people. Knows no order."""
