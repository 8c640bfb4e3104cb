"""What flows wait for and look at: states of orders, and how long a busy machine may take."""

from contextlib import closing, contextmanager

import psycopg2
from django.conf import settings
from django.db import connection

from config.embedded.process import wait_until
from provisioning.models import StepAttempt
from tests.provisioning.engine import fresh, step_of

# Twice the lease, as promised, and what a busy machine of two cores may take on top.
RECOVERY_SECONDS = 2 * settings.LEASE_SECONDS + settings.SWEEP_SECONDS
SLACK_SECONDS = 20.0


def states(*orders):
    """The state of each order as the database has it now."""
    return [fresh(order).state for order in orders]


def attempts(order, name="Making it", kind="do"):
    """How often a step was tried, and how each attempt ended."""
    return list(step_of(order, name, kind).attempts.values_list("number", "outcome"))


def at_work(*workers):
    """Whichever of the workers makes the attempt that is under way."""
    place = int(StepAttempt.objects.get(outcome="running").worker.rsplit(":", 1)[1])
    return next(worker for worker in workers if place in worker.pool())


def wait_for(condition, seconds=RECOVERY_SECONDS + SLACK_SECONDS):
    """Wait for what has to become true."""
    assert wait_until(condition, seconds), f"not within {seconds} s"


@contextmanager
def another_connection(url):
    """A transaction of a bystander, which ends without a trace."""
    with closing(psycopg2.connect(url)) as session:
        yield session
        session.rollback()


def owner_url():
    """The test database, as its owner reaches it."""
    known = connection.settings_dict
    return f"postgresql://{known['USER']}:{known['PASSWORD']}@{known['HOST']}:{known['PORT']}/{known['NAME']}"
