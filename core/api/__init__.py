"""What every route of the API shares: strict JSON in, problem+json out, pages by cursor, its own description."""
