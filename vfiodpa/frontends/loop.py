"""One event loop: readiness of fds, timers, and a stop that any thread or signal may ask for.

Everything runs in the thread that calls ``run``; no callback may block, since it would hold up every
other guest. An exception out of a callback ends ``run``: who owns a connection guards its own callbacks.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Timer:
    """A call that is due at ``when`` (seconds of ``time.monotonic``) unless it is cancelled."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never call; harmless after it was called."""
        self.callback = None


class Loop:
    """Watches fds and timers and calls back."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = itertools.count()  # timers of the same instant fire in the order they were set
        self._stopping = False
        # A pipe, not an eventfd: signal.set_wakeup_fd writes single bytes.
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, READ, self._drain_wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the loop's own fds; harmless when already closed."""
        if self._wake_read < 0:
            return
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._wake_read = self._wake_write = -1

    def watch(self, fd: int, callback: Callable[[int], None], events: int = READ) -> None:
        """Call ``callback`` with the events that are ready, again and again; replaces an earlier watch."""
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, callback)
        else:
            self._selector.register(fd, events, callback)

    def unwatch(self, fd: int) -> None:
        """Before the fd is closed; harmless when it is not watched."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once, after at least ``seconds``."""
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, (timer.when, next(self._serial), timer))
        return timer

    def stop(self) -> None:
        """Make ``run`` return; from any thread, any callback and any signal handler."""
        self._stopping = True
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:  # full, so the loop wakes anyway
            pass
        except OSError:  # closed: a signal after the end
            if self._wake_write >= 0:
                raise

    @contextmanager
    def stop_on(self, *signals: signal.Signals) -> Iterator[None]:
        """Within the block these signals stop the loop. Main thread only."""
        previous = {number: signal.signal(number, lambda *_: self.stop()) for number in signals}
        # Without it a signal that arrives just before the wait would be noticed only after it.
        wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def run(self) -> None:
        """Serve until ``stop``; a stop that came before counts."""
        while not self._stopping:
            self.run_once()
        self._stopping = False

    def run_once(self, timeout: float | None = None) -> int:
        """Wait for at most ``timeout`` seconds (``None``: until something happens); returns the calls made."""
        calls = 0
        for key, events in self._selector.select(self._wait(timeout)):
            # An earlier callback of this round may have closed this fd, and another may have its number now.
            if self._selector.get_map().get(key.fd) is key:
                key.data(events)
                calls += 1
        return calls + self._fire()

    def _wait(self, timeout: float | None) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return timeout
        due = max(0.0, self._timers[0][0] - time.monotonic())
        return due if timeout is None else min(due, timeout)

    def _fire(self) -> int:
        calls = 0
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
                calls += 1
        return calls

    def _drain_wake(self, _events: int) -> None:
        os.read(self._wake_read, 4096)
