"""Service: one device served on one vhost-user socket, in the foreground or in a thread."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from ..drivers.device import VdpaDevice
from ..errors import DeviceGone, StateError, Unsupported
from ..frontends.loop import Loop
from ..frontends.vhost_user.client import Client
from ..frontends.vhost_user.message import no_tap
from ..frontends.vhost_user.server import Server
from ..trace.traced import TracedFunction
from .datapath import Datapath
from .doorbell import DoorbellMode

log = logging.getLogger(__name__)

HEALTH_CHECK = 1.0  # seconds between two looks at a device that runs


def log_ready(line: str) -> None:
    """What ``on_ready`` does unless told otherwise."""
    log.info("%s", line)


class Service:
    """Guests come and go; the device is theirs one after the other.

    As a context manager it gives everything back but the device itself. ``run`` serves in this thread,
    ``start`` in a thread of its own; the socket is there from then on, and raises what stands in its way.
    ``on_ready`` gets ``listening on PATH`` or ``connected to PATH``: who reads it may at once connect, or send
    the signal that ends it.

    A device that is gone, or wanted back, ends the service: its guest is disconnected, ``lost`` says why
    and ``run`` raises it.
    """

    def __init__(
        self,
        device: VdpaDevice,
        path: Path,
        *,
        client: bool = False,
        on_ready: Callable[[str], None] = log_ready,
        doorbell: DoorbellMode = DoorbellMode.NOTIFIER,
    ) -> None:
        if not device.function.dma.isolates:
            raise Unsupported(
                "no guest is served without an IOMMU",
                device=device.name,
                cause="the guest's descriptors could make the device reach all of this machine's memory",
            )
        self.path = path
        self.datapath = Datapath(device, self._on_lost, doorbell)
        self.lost: DeviceGone | None = None
        self._loop = Loop()
        self._thread: threading.Thread | None = None
        self._signals = ExitStack()
        self._opened = False
        try:
            for fd, callback in self.datapath.events():
                self._loop.watch(fd, partial(_without_events, callback))
            kind = Client if client else Server
            traced = device.function
            tap = traced.message if isinstance(traced, TracedFunction) else no_tap
            self._endpoint = kind(self._loop, path, self.datapath, on_ready=on_ready, tap=tap)
            self._check()
        except BaseException:
            self.datapath.close()
            self._loop.close()
            raise

    def __repr__(self) -> str:
        return f"<Service {self.path}: {self.datapath!r}>"

    def run(self, *signals: signal.Signals) -> None:
        """Serve in this thread until ``stop`` or one of the signals (main thread only). Raises ``DeviceGone``.

        The signals stay ours until ``close``: a second one must not cut the teardown short.
        """
        self._signals.enter_context(self._loop.stop_on(*signals))
        self._open()
        self._loop.run()
        if self.lost is not None:
            raise self.lost

    def start(self) -> Self:
        """Serve in a thread until ``stop`` or ``close``; returns the service, for ``with``."""
        if self._thread is not None:
            raise StateError("the service runs already", device=str(self.path))
        self._open()
        self._thread = threading.Thread(target=self._loop.run, name=f"vfiodpa {self.path.name}")
        self._thread.start()
        return self

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
        self._signals.close()
        self._loop.close()

    def _check(self) -> None:
        self.datapath.check()
        self._loop.call_later(HEALTH_CHECK, self._check)

    def _on_lost(self, error: DeviceGone) -> None:
        if self.lost is None:
            self.lost = error
            self._loop.call_later(0, self._end)  # once what is being handled is answered

    def _end(self) -> None:
        self._endpoint.close()
        self._loop.stop()

    def _open(self) -> None:
        if self._opened:
            return
        try:
            self._endpoint.open()
        except BaseException:
            self.close()
            raise
        self._opened = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _without_events(callback: Callable[[], None], _events: int) -> None:
    callback()
