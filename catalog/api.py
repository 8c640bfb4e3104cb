"""The catalog's routes of the API."""

from rest_framework.viewsets import ViewSet


class OfferingViewSet(ViewSet):
    """Offerings."""
