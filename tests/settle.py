"""Waiting for what comes true in a moment by itself: the kernel lists a thread for a while after it was joined."""

from __future__ import annotations

import time
from collections.abc import Callable


def settles(condition: Callable[[], bool], seconds: float = 2.0) -> bool:
    """Does the condition hold within this time?"""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True
