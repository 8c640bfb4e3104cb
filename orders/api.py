"""The orders' routes of the API."""

from rest_framework.viewsets import ViewSet


class OrderViewSet(ViewSet):
    """Orders."""


class QuoteViewSet(ViewSet):
    """Quotes."""
