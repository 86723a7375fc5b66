"""Waiting for a device: every wait has a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import DeviceTimeout
from ..pci.function import PciFunction

FIRST_PAUSE = 10e-6
LONGEST_PAUSE = 10e-3


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a device may take, in seconds, before it counts as failed.

    No call of the driver takes longer than ``queue_stop``, twice ``reset`` and a reset of the function by the
    kernel (0.1 s) together.
    """

    reset: float = 1.0  # device_status = 0 until it reads 0; once more after a reset of the function
    queue_stop: float = 1.0  # queue_reset = 1, or a vendor's means; when all are stopped, for all of them
    config_reads: int = 16  # attempts to read the configuration under one generation


def wait_until(done: Callable[[], bool], seconds: float, what: str, function: PciFunction) -> float:
    """Poll ``done`` with growing pauses; returns the seconds it took, raises ``DeviceTimeout``."""
    start = time.monotonic()
    pause = FIRST_PAUSE
    while True:
        # Looked at before the poll: the last one begins after the deadline, so that a process which was
        # not scheduled for a while does not blame the device.
        left = start + seconds - time.monotonic()
        if done():
            return time.monotonic() - start
        if left <= 0:
            raise DeviceTimeout(
                f"{what} did not end within {seconds:.3g} s", device=function.name, cause=function.diagnose()
            )
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
