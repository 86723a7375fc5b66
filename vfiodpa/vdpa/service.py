"""Service: one device served on one vhost-user socket, in the foreground or in a thread."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

from ..drivers.device import VdpaDevice
from ..errors import StateError, Unsupported
from ..frontends.loop import Loop
from ..frontends.vhost_user.client import Client
from ..frontends.vhost_user.server import Server
from .datapath import Datapath

log = logging.getLogger(__name__)


def log_ready(line: str) -> None:
    """What ``on_ready`` does unless told otherwise."""
    log.info("%s", line)


class Service:
    """Guests come and go; the device is theirs one after the other.

    As a context manager it gives everything back but the device itself. ``run`` serves in this thread,
    ``start`` in a thread of its own. ``on_ready`` gets ``listening on PATH`` or ``connected to PATH``.
    """

    def __init__(
        self, device: VdpaDevice, path: Path, *, client: bool = False, on_ready: Callable[[str], None] = log_ready
    ) -> None:
        if not device.function.dma.isolates:
            raise Unsupported(
                "no guest is served without an IOMMU",
                device=device.name,
                cause="the guest's descriptors could make the device reach all of this machine's memory",
            )
        self.path = path
        self.datapath = Datapath(device)
        self._loop = Loop()
        self._thread: threading.Thread | None = None
        try:
            for fd, callback in self.datapath.events():
                self._loop.watch(fd, partial(self._on_event, callback))
            kind = Client if client else Server
            self._endpoint = kind(self._loop, path, self.datapath, on_ready=on_ready)
            self._endpoint.open()
        except BaseException:
            self.datapath.close()
            self._loop.close()
            raise

    def __repr__(self) -> str:
        return f"<Service {self.path}: {self.datapath!r}>"

    @property
    def wanted_back(self) -> bool:
        """Did it end because somebody unbinds or unplugs the device? That waits until the device is closed."""
        return self.datapath.wanted_back

    def _on_event(self, callback: Callable[[], None], _events: int) -> None:
        callback()
        if self.wanted_back:
            self._loop.stop()

    def run(self, *signals: signal.Signals) -> None:
        """Serve in this thread until ``stop``, one of the signals (main thread only) or ``wanted_back``."""
        with self._loop.stop_on(*signals):
            self._loop.run()

    def start(self) -> None:
        """Serve in a thread until ``stop`` or ``close``."""
        if self._thread is not None:
            raise StateError("the service runs already", device=str(self.path))
        self._thread = threading.Thread(target=self._loop.run, name=f"vfiodpa {self.path.name}")
        self._thread.start()

    def stop(self) -> None:
        """End ``run`` or the thread; guests stay attached until ``close``."""
        self._loop.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Stop, detach the guest in the fixed order, remove the socket; harmless when already closed."""
        self.stop()
        self._endpoint.close()
        self.datapath.close()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
