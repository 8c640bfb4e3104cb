"""The routes of the API for what was delivered and for the work behind it."""

from provisioning.api.callbacks import CallbackViewSet
from provisioning.api.imports import BrokerImportViewSet
from provisioning.api.instances import ServiceInstanceViewSet
from provisioning.api.runs import BreakerViewSet, OrphanViewSet, RunViewSet, StepViewSet
from provisioning.api.tasks import TaskViewSet

__all__ = [
    "BreakerViewSet",
    "BrokerImportViewSet",
    "CallbackViewSet",
    "OrphanViewSet",
    "RunViewSet",
    "ServiceInstanceViewSet",
    "StepViewSet",
    "TaskViewSet",
]
