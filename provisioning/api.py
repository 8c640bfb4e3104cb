"""The service instances' routes of the API."""

from rest_framework.viewsets import ViewSet


class ServiceInstanceViewSet(ViewSet):
    """Service instances."""
