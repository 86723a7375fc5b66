"""The way back: requests of ours to the front end, on the socket of SET_BACKEND_REQ_FD.

Nothing here waits. The front end may itself be waiting for the answer to a request of its own, so a page is
shared from the event loop after that was given, and its acknowledgement is taken whenever it comes. A
withdrawal goes out at once, before the answer to what caused it (a stopped queue sends nothing any more),
and asks for no acknowledgement.

Ref: vhost-user, "Back-end message types", VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import ProtocolViolation, Unsupported, VfiodpaError, errno_name
from ...pci.function import SharedPage
from ...spec.vhost_user import U64, VERSION, VRING_NO_FD, BackendRequest, Header, HeaderFlag, VringArea
from ..loop import READ, WRITE, Loop, Timer
from .fds import check_socket, close_all
from .message import Tap, no_tap

log = logging.getLogger(__name__)

Answer = Callable[[str], None]  # gets why not, empty when accepted

REFUSED = "the front end refused the page (QEMU takes it with page-per-vq=on)"
_CLOSED = "the front end closed it"
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL  # the front end shares the open file and can make it blocking
_INT = struct.Struct("i")
_REPLY = Header.size + U64.size
_NOTIFIER = BackendRequest.VRING_HOST_NOTIFIER_MSG


@dataclass(slots=True)
class _Request:
    """One request on its way. Owns ``fd`` until it is sent; ``answer`` is ``None`` when nobody waits."""

    queue: int
    data: bytes
    fd: int = -1
    answer: Answer | None = None
    acknowledged: bool = False  # asks for a reply

    def close(self) -> None:
        close_all([self.fd])
        self.fd = -1

    def settle(self, why: str) -> None:
        answer, self.answer = self.answer, None
        if answer is not None:
            answer(why)


class BackendChannel:
    """Owns the socket. Whatever goes wrong on it closes it with one warning; the guest goes on with its eventfds."""

    def __init__(self, loop: Loop, fd: int, name: str, deadline: float, tap: Tap = no_tap) -> None:
        """Takes ``fd`` over once it returns; raises ``ProtocolViolation`` when that is no such socket.

        ``deadline``: seconds for the front end to read a request and to acknowledge it.
        """
        check_socket(fd, "back-end request")
        sock = socket.socket(fileno=fd)
        if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
            sock.detach()
            raise ProtocolViolation("the back-end request fd must be a Unix stream socket")
        self._loop = loop
        self._sock = sock
        self._name = name
        self._deadline = deadline
        self._tap = tap
        self._unsent: deque[_Request] = deque()
        self._waiting: deque[_Request] = deque()  # for their acknowledgements, which come in this order
        self._rest = b""  # of a request whose beginning was sent
        self._input = b""
        self._timer: Timer | None = None
        loop.watch(fd, self._ready)

    @property
    def closed(self) -> bool:
        """Was it closed, by either side?"""
        return self._sock.fileno() < 0

    def close(self) -> None:
        """Free everything; nobody is answered any more. Harmless when already closed."""
        if self.closed:
            return
        self._stop_timer()
        for request in (*self._unsent, *self._waiting):
            request.close()
        self._unsent.clear()
        self._waiting.clear()
        self._loop.unwatch(self._sock.fileno())
        self._sock.close()

    # Requests

    def share_doorbell(self, queue: int, page: SharedPage, answer: Answer, *, acknowledged: bool) -> None:
        """Offer the page, later; without ``acknowledged`` (REPLY_ACK) it counts as taken once it is sent.

        Raises ``Unsupported`` without an fd left for it.
        """
        body = VringArea(index=queue, length=page.length, offset=page.offset)
        try:
            fd = os.dup(page.fd)
        except OSError as error:
            raise Unsupported(f"no fd is left for the page ({errno_name(error.errno or 0)})") from error
        self._unsent.append(_Request(queue, _message(body, acknowledged), fd, answer, acknowledged))
        self._loop.call_later(0, self._send_later)

    def withdraw_doorbell(self, queue: int) -> None:
        """Take back what was shared, at once if the socket has room."""
        if self.closed:
            return
        for request in self._waiting:
            if request.queue == queue:
                request.answer = None
        unsent = [request for request in self._unsent if request.queue == queue]
        for request in unsent:
            if request.fd >= 0:
                request.close()
                self._unsent.remove(request)
        if unsent:
            return  # it was never offered, or the withdrawal of what was offered before is still there
        self._unsent.appendleft(_Request(queue, _message(VringArea(index=queue | VRING_NO_FD), acknowledged=False)))
        self._guarded(lambda: self._send(1))

    # The loop's

    def _send_later(self) -> None:
        if not self.closed:
            self._guarded(lambda: self._send(len(self._unsent)))

    def _ready(self, events: int) -> None:
        if events & READ:
            self._guarded(self._receive)
        if events & WRITE and not self.closed:
            self._send_later()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Run a step; what goes wrong ends the channel and nothing else."""
        try:
            step()
        except VfiodpaError as error:
            self._lose(str(error))
        except ConnectionError:
            self._lose(_CLOSED, logging.INFO)
        except OSError as error:
            self._lose(f"the socket failed ({errno_name(error.errno or 0)})")

    def _lose(self, why: str, level: int = logging.WARNING) -> None:
        requests = [*self._unsent, *self._waiting]
        self.close()
        log.log(level, "%s: channel for back-end requests closed: %s", self._name, why)
        for request in requests:
            request.settle(why)

    def _late(self) -> None:
        self._timer = None
        what = "does not read its requests" if self._unsent else "acknowledges nothing"
        self._lose(f"the front end {what} within {self._deadline:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        """Mind what is open: the socket's room while something is unsent, the deadline while something is owed."""
        stuck = bool(self._rest or self._unsent)
        self._loop.watch(self._sock.fileno(), self._ready, READ | WRITE if stuck else READ)
        if not (stuck or self._waiting):
            self._stop_timer()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._deadline, self._late)

    # Out

    def _send(self, most: int) -> None:
        """Send up to ``most`` requests, as far as the socket has room."""
        try:
            while self._rest:
                self._rest = self._rest[self._sock.send(self._rest, _FLAGS) :]
            while self._unsent and most > 0:
                self._send_first()
                most -= 1
        except BlockingIOError:
            pass
        self._watch()

    def _send_first(self) -> None:
        request = self._unsent[0]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _INT.pack(request.fd))] if request.fd >= 0 else []
        sent = self._sock.sendmsg([request.data], rights, _FLAGS)  # socket.send_fds drops its flags
        self._rest = request.data[sent:]
        self._tap("=>", request.data, len(rights))
        self._unsent.popleft()
        request.close()
        if request.acknowledged:
            self._waiting.append(request)
        else:
            request.settle("")

    # In

    def _receive(self) -> None:
        """Only acknowledgements may come."""
        try:
            data = self._sock.recv(_REPLY - len(self._input), _FLAGS)
        except BlockingIOError:
            return
        if not data:
            self._lose(_CLOSED, logging.INFO)
            return
        self._input += data
        if len(self._input) >= Header.size:
            self._check_header(Header.unpack(self._input))
        if len(self._input) == _REPLY:
            self._tap("<=", self._input, 0)
            code = U64.unpack(self._input[Header.size :]).value
            self._input = b""
            self._stop_timer()
            self._waiting.popleft().settle(REFUSED if code else "")
            if not self.closed:
                self._watch()

    def _check_header(self, header: Header) -> None:
        expected = (int(_NOTIFIER), VERSION | HeaderFlag.REPLY, U64.size)
        found = (header.request, header.flags & ~HeaderFlag.NEED_REPLY, header.length)
        if not self._waiting:
            raise ProtocolViolation(f"message {header.request} came where nothing was asked")
        if found != expected:
            raise ProtocolViolation(f"message {header.request} of {header.length} bytes is no acknowledgement of ours")


def _message(body: VringArea, acknowledged: bool) -> bytes:
    flags = VERSION | (HeaderFlag.NEED_REPLY if acknowledged else 0)
    return Header(request=_NOTIFIER, flags=flags, length=VringArea.size).pack() + body.pack()
