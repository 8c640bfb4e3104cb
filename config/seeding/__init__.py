"""Fills an empty database with the demo organization, and mends it where parts of it are gone.

Everything of today is made through the services, by the people who would do it. Orders of past months are
inserted as the rows that they would have left: nobody can live through months again.
"""

from config.seeding.seed import SignIn, seed

__all__ = ["SignIn", "seed"]
