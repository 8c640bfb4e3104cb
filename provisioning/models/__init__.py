"""Service instances, and the work that makes, changes and removes them. The database is the queue."""

from provisioning.models.imports import BrokerImport
from provisioning.models.instances import ServiceInstance, ServiceInstanceQuerySet, sees_all_work
from provisioning.models.records import Breaker, Callback, Secret, StepAttempt, StepLine
from provisioning.models.runs import Run, RunQuerySet, Step, StepQuerySet
from provisioning.models.tasks import ManualTask, ManualTaskQuerySet

__all__ = [
    "Breaker",
    "BrokerImport",
    "Callback",
    "ManualTask",
    "ManualTaskQuerySet",
    "Run",
    "RunQuerySet",
    "Secret",
    "ServiceInstance",
    "ServiceInstanceQuerySet",
    "Step",
    "StepAttempt",
    "StepLine",
    "StepQuerySet",
    "sees_all_work",
]
