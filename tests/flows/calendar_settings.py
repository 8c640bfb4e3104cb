"""The settings of processes with one calendar job more, which leaves a line each time that it runs."""

import os
from datetime import timedelta
from pathlib import Path

from django.apps import AppConfig

from tests.provisioning.worker_settings import *  # noqa: F403 (all of them)
from tests.provisioning.worker_settings import INSTALLED_APPS as USUAL

JOB, SECONDS = "counted", 1


class CountedConfig(AppConfig):
    """An app that is nothing but the job, and beats that ring much more often than usual."""

    name = "tests.flows"

    def ready(self):
        """Put the job into the calendar."""
        from celery import current_app  # noqa: PLC0415 (apps first)

        from core.tasks import every  # noqa: PLC0415 (apps first)

        every(timedelta(seconds=SECONDS), JOB, leave_a_line)
        for entry in current_app.conf.beat_schedule.values():
            entry["schedule"] = SECONDS / 4


def leave_a_line():
    """Do the job."""
    with Path(os.environ["FAR_SIDE"], "counted").open("a") as file:
        file.write("once\n")


INSTALLED_APPS = [*USUAL, "tests.flows.calendar_settings.CountedConfig"]
