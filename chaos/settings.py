"""The real settings: chaos needs nothing else. The name stands for the processes that a campaign starts."""

from config.settings import *  # noqa: F403 (all of them)
