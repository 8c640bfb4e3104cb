"""The settings of worker processes that tests start: the real ones, and the fake connectors beside them."""

from config.settings import *  # noqa: F403 (all of them)
from config.settings import CONNECTORS as REAL
from tests.provisioning import fakes

CONNECTORS = REAL | fakes.CONNECTORS
