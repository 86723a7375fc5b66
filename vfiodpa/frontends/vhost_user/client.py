"""Client mode: the front end (for example QEMU with server=on) owns the socket and we connect to it."""

from __future__ import annotations

import errno
import logging
import socket

from ...errors import LimitError, errno_name
from ..loop import Timer
from .endpoint import Endpoint, check_path

log = logging.getLogger(__name__)

RETRY = 1.0  # seconds between attempts

# The front end is not there yet, or no longer, or busy: worth another try.
_TRANSIENT = (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN, errno.ECONNRESET)


class Client(Endpoint):
    """Keeps connecting to ``path``; ``on_ready`` is called at each connection."""

    _timer: Timer | None = None
    _waiting = False
    _opened = False
    retry = RETRY

    def open(self) -> None:
        """Connect now or later. Raises ``UsageError`` or ``LimitError`` for a path that cannot work."""
        check_path(self.path)
        self._opened = True
        error = self._connect()
        if error in (errno.EACCES, errno.EPERM):
            self.close()
            raise LimitError("cannot connect", device=self.name, cause=errno_name(error))

    def close(self) -> None:
        """Disconnect and stop trying."""
        self._opened = False
        if self._timer is not None:
            self._timer.cancel()
        self._close_session()

    def _connect(self) -> int:
        """One attempt; returns the errno, 0 when connected."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        error = sock.connect_ex(str(self.path))
        if error:
            sock.close()
            self._wait(error)
            return error
        self._waiting = False
        self._attach(sock)
        if self.connected:
            self._on_ready(f"connected to {self.path}")
        return 0

    def _wait(self, error: int) -> None:
        if not self._waiting:  # say it once, not every second
            hopeful = error in _TRANSIENT and self.path.parent.is_dir()
            level = logging.INFO if hopeful else logging.WARNING
            log.log(level, "%s: waiting for the front end (%s)", self.name, errno_name(error))
        self._waiting = True
        self._later()

    def _left(self) -> None:
        super()._left()
        self._later()

    def _later(self) -> None:
        if self._opened:
            self._timer = self._loop.call_later(self.retry, self._try_again)

    def _try_again(self) -> None:
        if self._opened and not self.connected:
            self._connect()
