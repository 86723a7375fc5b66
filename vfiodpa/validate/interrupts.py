"""What cuts a run short: SIGINT, SIGTERM, and an alarm for calls that never look at the clock.

A signal raises only where it may (``within``); elsewhere it is remembered, so that nothing is torn apart half made.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .verdict import Overdue

STOP = (signal.SIGINT, signal.SIGTERM)
AGAIN_S = 1.0  # an alarm that somebody swallowed rings again


class Stopped(BaseException):
    """The run is to end: ``stopped by SIGTERM``."""


class Signals:
    """A context manager. Outside of it, and in threads other than the main one, ``within`` does nothing."""

    def __init__(self) -> None:
        self.asked = ""  # the name of the signal that asked for the end
        self._armed = False
        self._open = self._stoppable = False
        self._late = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        self._armed = threading.current_thread() is threading.main_thread()
        if self._armed:
            self._before = {number: signal.signal(number, self._stop) for number in STOP}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        self._armed = False

    @contextmanager
    def within(self, seconds: float, what: str, *, stoppable: bool = True) -> Iterator[None]:
        """The block may be cut short: by ``Overdue`` (``what``) after so long, by ``Stopped`` when asked for.

        Not ``stoppable``: only by time, for what cleans up.
        """
        if not self._armed:
            yield
            return
        self._late = what
        handler = signal.signal(signal.SIGALRM, self._ring)
        begin, (left, again) = time.monotonic(), signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
        try:
            self._open, self._stoppable = True, stoppable
            if self.asked and stoppable:
                raise Stopped(f"stopped by {self.asked}")
            yield
        finally:
            self._open = self._stoppable = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            if left:  # somebody else's alarm: it still rings
                signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begin), 0.001), again)

    def _ring(self, *_: object) -> None:
        if self._open:
            raise Overdue(self._late)

    def _stop(self, number: int, *_: object) -> None:
        self.asked = signal.Signals(number).name
        if self._stoppable:
            self._open = self._stoppable = False  # once
            raise Stopped(f"stopped by {self.asked}")
