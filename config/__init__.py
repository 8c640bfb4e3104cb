"""Wiring: settings, routes, Celery, and the table of who reacts to what."""
