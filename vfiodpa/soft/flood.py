"""A device that never stops signalling its interrupts."""

from __future__ import annotations

import contextlib
import os
import threading
from contextlib import AbstractContextManager

from .irq import NONE, Vectors

PAUSE_S = 100e-6
BURST = 8  # signals of each vector between two pauses


class Flood:
    """A thread that signals every attached vector, from the moment it is made until ``close``."""

    def __init__(self, vectors: Vectors, lock: AbstractContextManager[object], name: str) -> None:
        self._vectors = vectors
        self._lock = lock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name} interrupts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; not with the lock held, which the thread takes."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            with self._lock:  # no fd is closed meanwhile
                for vector in range(len(self._vectors)):
                    self._signal(self._vectors.fd(vector))

    @staticmethod
    def _signal(fd: int) -> None:
        if fd == NONE:
            return
        with contextlib.suppress(BlockingIOError):  # its counter is full
            for _ in range(BURST):
                os.eventfd_write(fd, 1)
