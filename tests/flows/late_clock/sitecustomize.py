"""Loaded first by a process under libfaketime, which refuses the system call that `time.sleep` is made of."""

import select
import time


def sleep(seconds):
    """Sleep by another call, which libfaketime leaves alone."""
    select.select([], [], [], max(0.0, seconds))


time.sleep = sleep
