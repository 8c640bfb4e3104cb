"""The routes of the API for what was delivered and for the work behind it."""

from provisioning.api.instances import ServiceInstanceViewSet
from provisioning.api.tasks import TaskViewSet

__all__ = ["ServiceInstanceViewSet", "TaskViewSet"]
