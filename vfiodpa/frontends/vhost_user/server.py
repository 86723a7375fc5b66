"""Server mode: we own the socket file and guests connect to it."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from pathlib import Path

from ...errors import LimitError, StateError, UsageError, VfiodpaError, errno_name
from .endpoint import Endpoint, check_path

log = logging.getLogger(__name__)

RETRY = 1.0  # seconds without accepting after running out of fds
_MODE = 0o600


class Server(Endpoint):
    """Listens on ``path``; one guest at a time, further connections are closed."""

    _listener: socket.socket | None = None
    _inode: tuple[int, int] = (0, 0)

    def open(self) -> None:
        """Bind and listen. A stale socket file is replaced.

        Raises ``UsageError`` for an impossible path, ``StateError`` when somebody serves it already and
        ``LimitError`` without permission.
        """
        check_path(self.path)
        self._listener = _bind(self.path)
        self._inode = _inode(self.path)
        self._listener.listen()
        self._loop.watch(self._listener.fileno(), self._accept)
        log.info("%s: listening", self.name)
        self._on_ready(f"listening on {self.path}")

    def close(self) -> None:
        """Also removes the socket file, unless somebody else's is there by now."""
        self._close_session()
        if self._listener is None:
            return
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        self._listener = None
        if _inode(self.path) == self._inode:
            self.path.unlink()

    def _accept(self, _events: int) -> None:
        if self._listener is None:
            return
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._pause(error)
            return
        # A front end that was killed and restarted may be here before we have read the old one's end.
        if self._session is not None and self._session.peer_gone:
            self._session.close()
        if self._session is not None:
            sock.close()
            log.warning("%s: connection refused: another guest is attached", self.name)
            return
        self._attach(sock)

    def _pause(self, error: OSError) -> None:
        """The listener stays readable, so trying again at once would spin."""
        log.warning("%s: cannot accept (%s); trying again in %g s", self.name, errno_name(error.errno or 0), RETRY)
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._loop.call_later(RETRY, self._resume)

    def _resume(self) -> None:
        if self._listener is not None:
            self._loop.watch(self._listener.fileno(), self._accept)


def _bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(sock.fileno(), _MODE)  # the socket file gets it: nobody can connect in between
        try:
            sock.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path)
            sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise _explained(path, error) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _explained(path: Path, error: OSError) -> VfiodpaError:
    cause = errno_name(error.errno or 0)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return UsageError("its directory does not exist", device=str(path), remedy=f"mkdir -p {path.parent}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LimitError("cannot make the socket", device=str(path), cause=cause, remedy="a directory of your own")
    return VfiodpaError("cannot make the socket", device=str(path), cause=cause)


def _remove_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on; anything else is refused."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise UsageError("exists and is not a socket", device=str(path), remedy="another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # its backlog is full, so it lives
            pass
    raise StateError("another process serves this socket", device=str(path), remedy=f"fuser {path}")


def _inode(path: Path) -> tuple[int, int]:
    try:
        info = path.lstat()
    except FileNotFoundError:
        return (0, 0)
    return (info.st_dev, info.st_ino)
