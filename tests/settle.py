"""Waiting for what comes true in a moment by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from vfiodpa.soft.function import SoftFunction


def settles(condition: Callable[[], bool], seconds: float = 2.0) -> bool:
    """Does the condition hold within this time?"""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def wait_asleep(nic: SoftFunction) -> None:
    """Until its workers have seen to all that was rung so far, and sleep (not with ``poll=busy``)."""
    engine = nic.device.engine

    def asleep() -> bool:
        return all(worker["sleeps"] > worker["wakes"] for worker in engine.worker_stats())

    assert settles(asleep, 5.0)
    with engine.paused():
        pass  # a worker that rests has taken its events; when it goes on it looks at every ring
    assert settles(asleep, 5.0)
