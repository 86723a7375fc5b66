"""What the software NIC's wire leads to outside this process: fds for the data path, opened by name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from ..errors import LimitError, UsageError, VfiodpaError, errno_name
from .options import Port, SoftOptions
from .wire_packet import open_packet
from .wire_spread import spread
from .wire_tap import attach_queues, open_tap

NONE = -1


class Wire:
    """Owns the fds of a NIC's port and capture; the data path borrows them.

    ``ports``: one for each pair, or none. ``capture``: of the file, or -1. ``event``: an eventfd that the data
    path signals when the port or the capture stops working or works again; -1 for ports that always do.
    """

    def __init__(self, options: SoftOptions, device: str) -> None:
        self._port = options.port
        self.ports: list[int] = []
        self.capture = self.event = NONE
        try:
            self._open(options, device)
        except BaseException:
            self.close()
            raise

    def _open(self, options: SoftOptions, device: str) -> None:
        if options.port is Port.TAP:
            self.ports = open_tap(options.target, options.queues, device)
        elif options.port is Port.PACKET:
            self.ports = open_packet(options.target, options.queues, device)
        path = options.captured
        if path:
            self.capture = open_capture(Path(path), device)
        if path or options.port in (Port.TAP, Port.PACKET, Port.LINK):
            self.event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def receive_on(self, active: int, receiving: Sequence[int]) -> None:
        """What comes from outside is to go to ``receiving``: at least one of the ``active`` first pairs.

        Raises ``OSError``.
        """
        if self._port is Port.PACKET and len(self.ports) > 1:
            spread(self.ports[0], receiving)
        elif self._port is Port.TAP and len(self.ports) > 1:
            attach_queues(self.ports, active)

    def close(self) -> None:
        """Close all; harmless twice."""
        for fd in (*self.ports, self.capture, self.event):
            if fd != NONE:
                os.close(fd)
        self.ports, self.capture, self.event = [], NONE, NONE


def open_capture(path: Path, device: str) -> int:
    """A file to write, emptied; or a named pipe somebody reads, so that a capture can be watched."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not make us wait
    try:
        fd = os.open(path, flags, 0o644)
    except OSError as error:
        raise _explain(path, device, error) from error
    kind = os.fstat(fd).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
        os.close(fd)
        raise UsageError(f"cannot capture to {path}", device=device, cause="it is no file and no pipe")
    os.set_blocking(fd, True)
    return fd


def _explain(path: Path, device: str, error: OSError) -> VfiodpaError:
    what, cause = f"cannot capture to {path}", errno_name(error.errno or 0)
    if isinstance(error, FileNotFoundError):
        return UsageError(what, device=device, cause=cause, remedy=f"mkdir -p {path.parent}")
    if error.errno == errno.ENXIO and path.is_fifo():
        return UsageError(what, device=device, cause=f"{cause}: nobody reads the pipe", remedy="start its reader first")
    if isinstance(error, IsADirectoryError) or error.errno == errno.ENXIO:
        return UsageError(what, device=device, cause=cause, remedy="the path of a file")
    return LimitError(what, device=device, cause=cause)
