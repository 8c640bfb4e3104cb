"""The routes of the API for what was delivered and for the work behind it."""

from provisioning.api.callbacks import CallbackView
from provisioning.api.instances import ServiceInstanceViewSet
from provisioning.api.runs import BreakerViewSet, OrphanViewSet, RunViewSet, StepViewSet
from provisioning.api.tasks import TaskViewSet

__all__ = [
    "BreakerViewSet",
    "CallbackView",
    "OrphanViewSet",
    "RunViewSet",
    "ServiceInstanceViewSet",
    "StepViewSet",
    "TaskViewSet",
]
