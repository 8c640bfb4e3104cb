"""Who: people, business units, cost centers, roles and API tokens."""
