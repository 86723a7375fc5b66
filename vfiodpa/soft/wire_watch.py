"""A thread that waits for the data path to say that its port stopped working, or works again."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread

from ..readable import readable


class WireWatch:
    """Calls ``changed`` in a thread of its own whenever ``event`` (an eventfd, borrowed) is signalled."""

    def __init__(self, event: int, changed: Callable[[], None], name: str) -> None:
        self._event = event
        self._changed = changed
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = Thread(target=self._run, name=f"{name}-wire", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Join the thread. Not under a lock that ``changed`` takes."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)

    def _run(self) -> None:
        while True:
            ready = readable([self._event, self._stop])
            if self._stop in ready:
                return
            os.eventfd_read(self._event)
            self._changed()
