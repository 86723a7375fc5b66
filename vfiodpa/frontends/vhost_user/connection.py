"""One socket: bytes and fds in, whole messages out, and a peer that stalls is given up.

Reads never reach into the next message, so fds that arrive with a read belong to that message
(vhost-user: they come with the header's first byte). While a reply waits for the peer to read it no
further request is taken, so at most one reply is ever buffered.
"""

from __future__ import annotations

import array
import errno
import logging
import select
import socket
import struct
from collections.abc import Callable

from ...errors import ProtocolViolation, VfiodpaError, errno_name
from ...spec.vhost_user import MAX_FDS, Header
from ..loop import READ, WRITE, Loop, Timer
from .fds import close_all
from .message import Malformed, Message, check_fds, check_header, request_name

log = logging.getLogger(__name__)

DEADLINE = 5.0  # seconds from a message's first byte to its last, and for a reply to be read

_INT = array.array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(MAX_FDS * _INT)
_UCRED = struct.Struct("iII")  # struct ucred


class Connection:
    """A non-blocking vhost-user socket. ``on_lost`` is called at most once, never after ``close``."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_message: Callable[[Message], None],
        on_lost: Callable[[VfiodpaError | None], None],
        deadline: float = DEADLINE,
    ) -> None:
        """``on_message`` takes over the message. What it raises ends the connection.

        ``on_lost`` gets ``None`` when the peer closed between two messages, else what went wrong.
        """
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._on_message = on_message
        self._on_lost = on_lost
        self._deadline = deadline
        self._timer: Timer | None = None
        self._header: Header | None = None
        self._data = b""
        self._fds: list[int] = []
        self._output = b""
        loop.watch(sock.fileno(), self._ready)

    def send(self, data: bytes) -> None:
        """Send a reply now, or as soon as the peer reads; nothing when closed."""
        if self.closed:
            return
        self._output += data
        self._flush()

    def close(self) -> None:
        """Free everything; harmless when already closed."""
        if self.closed:
            return
        self._stop_timer()
        close_all(self._fds)
        self._fds = []
        self._loop.unwatch(self._sock.fileno())
        self._sock.close()

    @property
    def closed(self) -> bool:
        """Was it closed, by either side?"""
        return self._sock.fileno() < 0

    @property
    def peer_gone(self) -> bool:
        """Has the peer closed its end, even if bytes of it are still unread?"""
        if self.closed:
            return True
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    @property
    def peer(self) -> str:
        """Who is there: ``'pid 123, uid 0'``."""
        data = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, _gid = _UCRED.unpack(data)
        return f"pid {pid}, uid {uid}"

    def _ready(self, events: int) -> None:
        """The one place where whatever goes wrong with a connection ends that connection, and only that."""
        try:
            if events & WRITE:
                self._flush()
            elif events & READ:
                self._receive()
        except VfiodpaError as error:
            self._lose(error)
        except OSError as error:
            self._lose(ProtocolViolation("the socket failed", cause=errno_name(error.errno or errno.EIO)))
        except Exception:  # a bug of ours must not take the other guests down
            log.exception("internal error while serving a guest")
            self._lose(VfiodpaError("internal error, see the traceback above"))

    def _lose(self, error: VfiodpaError | None) -> None:
        if not self.closed:
            self._on_lost(error)
            self.close()

    # Input

    def _receive(self) -> None:
        missing = self._wanted() - len(self._data)
        data = self._receive_some(missing)
        if data is None:
            return
        if not data:
            self._end_of_file()
            return
        if self._timer is None:
            self._timer = self._loop.call_later(self._deadline, self._stalled)
        self._data += data
        if len(data) == missing:
            self._advance()

    def _wanted(self) -> int:
        """Bytes of the part that is being read."""
        return Header.size if self._header is None else self._header.length

    def _receive_some(self, size: int) -> bytes | None:
        """Up to ``size`` bytes, ``None`` when there is nothing yet; fds are collected."""
        first = self._header is None and not self._data
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(size, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionResetError:
            return b""
        fds = _fds_of(ancillary)
        self._fds += fds
        if flags & socket.MSG_CTRUNC:
            raise Malformed(f"more than {MAX_FDS} fds in one message, or no fd left in this process (ulimit -n)")
        if fds and not first:
            raise Malformed("fds came after the first byte of a message")
        return data

    def _advance(self) -> None:
        """A header or a payload is complete."""
        if self._header is None:
            self._header, self._data = Header.unpack(self._data), b""
            check_header(self._header)
            if self._header.length:
                return
        self._stop_timer()
        message = Message(self._header, self._data, self._fds)
        self._header, self._data, self._fds = None, b"", []
        try:
            check_fds(message)
        except Malformed:
            message.close()
            raise
        self._on_message(message)

    def _end_of_file(self) -> None:
        if self._header is None and not self._data:
            self._lose(None)
        else:
            raise Malformed(f"the peer closed the socket within {self._where()}")

    def _where(self) -> str:
        return f"the payload of {request_name(self._header.request)}" if self._header else "a header"

    def _stalled(self) -> None:
        what = "does not read its replies" if self._output else f"stalled within {self._where()}"
        self._lose(Malformed(f"the peer {what} for {self._deadline:g} s"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Output

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._output, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            # The peer is gone; its end of file is reported when it is read.
            sent = len(self._output)
        self._output = self._output[sent:]
        if not self._output:
            self._stop_timer()
            self._loop.watch(self._sock.fileno(), self._ready, READ)
        elif self._timer is None:
            self._timer = self._loop.call_later(self._deadline, self._stalled)
            self._loop.watch(self._sock.fileno(), self._ready, WRITE)


def _fds_of(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _INT])
    return list(fds)
