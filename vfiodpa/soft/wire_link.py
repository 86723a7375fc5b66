"""Two software NICs on one wire, in one process or two: who finds whom, and the memory between them.

Both look for an abstract Unix socket of the wire's name: the first to come listens, the other connects. The
listener makes the memory and the eventfds and hands them over. When one leaves, or its process dies, the
connection ends: the link is down and both sides look for each other again. An abstract name belongs to the
network namespace and vanishes with its owner: nothing is left behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from threading import Thread

from .._native import lib
from ..errors import VfiodpaError
from ..memory import Mapping
from ..readable import readable

log = logging.getLogger(__name__)

MAX_PAIRS = 64  # fds of one message: the memory and two for each pair, at most 253
_MAGIC = 0x4B4E_4C56  # of this version of the rings
_HELLO = struct.Struct("=3I")  # magic, verdict, pairs
_CREDENTIALS = struct.Struct("=3i")
_RETRY_S, _ANSWER_S = 1.0, 2.0


class Verdict(IntEnum):
    """What the listener answers."""

    WELCOME = 0
    BUSY = 1
    PAIRS = 2


@dataclass(slots=True)
class Peer:
    """The other side, while it is there. ``side`` is ours; owns the memory and the eventfds (one for each pair)."""

    memory: Mapping
    side: int
    wake: list[int]
    peer_wake: list[int]

    def close(self) -> None:
        self.memory.close()
        for fd in (*self.wake, *self.peer_wake):
            os.close(fd)


class LinkKeeper:
    """Looks for the other side in a thread of its own; ``attach`` and ``detach`` are called there."""

    def __init__(
        self, wire: str, pairs: int, device: str, attach: Callable[[Peer], None], detach: Callable[[], None]
    ) -> None:
        self._address = f"\0vfiodpa-link-{os.getuid()}-{wire}"
        self._wire, self._pairs, self._device = wire, pairs, device
        self._attach, self._detach = attach, detach
        self._peer: Peer | None = None
        self._said = ""
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = Thread(target=self._run, name=f"{device}-link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the wire and join the thread. Not under a lock that ``attach`` takes."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)

    def _run(self) -> None:
        while not self._wait(0):
            try:
                self._look()
            except (OSError, VfiodpaError) as error:
                self._say(str(error))
                self._wait(_RETRY_S)

    def _wait(self, seconds: float | None, *sockets: socket.socket) -> list[int | socket.socket]:
        """What is readable; the stop eventfd stays so."""
        waiting: list[int | socket.socket] = [self._stop, *sockets]
        return readable(waiting, seconds)

    def _say(self, what: str) -> None:
        """Once for each reason."""
        if what != self._said:
            log.warning("%s: link=%s: %s", self._device, self._wire, what)
        self._said = what

    def _look(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
            try:
                one.bind(self._address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                self._join(one)
            else:
                one.listen()
                self._host(one)

    # The one that came first

    def _host(self, listener: socket.socket) -> None:
        guest: socket.socket | None = None
        try:
            while True:
                ready = self._wait(None, listener, *([guest] if guest else []))
                if self._stop in ready:
                    return
                if guest in ready:
                    self._gone(guest)
                    guest = None
                if listener in ready:
                    guest = self._greet(listener, guest)
        finally:
            self._gone(guest)

    def _greet(self, listener: socket.socket, guest: socket.socket | None) -> socket.socket | None:
        """Answer who knocks; returns the one that is on the wire now."""
        new, _ = listener.accept()
        try:
            new.settimeout(_ANSWER_S)
            magic, _, pairs = _HELLO.unpack(_checked(new).recv(_HELLO.size))
            if magic != _MAGIC:
                raise ConnectionError("a stranger is on the wire")
            verdict = Verdict.BUSY if guest else Verdict.PAIRS if pairs != self._pairs else Verdict.WELCOME
            if verdict is Verdict.WELCOME:
                self._welcome(new)
                return new
            new.send(_HELLO.pack(_MAGIC, verdict, self._pairs))
        except (OSError, struct.error, VfiodpaError) as error:
            self._say(f"a peer did not come in: {error}")
        new.close()
        return guest

    def _welcome(self, new: socket.socket) -> None:
        peer = _make_peer(self._pairs)
        fds = [peer.memory.fd, *peer.wake, *peer.peer_wake]
        try:
            self._attach(peer)
            socket.send_fds(new, [_HELLO.pack(_MAGIC, Verdict.WELCOME, self._pairs)], fds)
        except BaseException:
            self._detach()
            peer.close()
            raise
        self._peer, self._said = peer, ""

    def _gone(self, connection: socket.socket | None) -> None:
        """The other side left, or we do."""
        if self._peer:
            self._detach()
            self._peer.close()
            self._peer = None
        if connection:
            connection.close()

    # The other one

    def _join(self, connection: socket.socket) -> None:
        try:
            connection.connect(self._address)
        except OSError:  # it just left, or is about to listen
            self._wait(0.02)
            return
        connection.settimeout(_ANSWER_S)
        try:
            _checked(connection).send(_HELLO.pack(_MAGIC, 0, self._pairs))
            answer, fds, _, _ = socket.recv_fds(connection, _HELLO.size, 1 + 2 * MAX_PAIRS)
        except (ConnectionResetError, BrokenPipeError):  # it left before it answered
            self._wait(0.02)
            return
        if not answer:
            return
        magic, verdict, pairs = _HELLO.unpack(answer)
        if magic != _MAGIC or verdict != Verdict.WELCOME or len(fds) != 1 + 2 * self._pairs:
            _close(fds)
            busy = "two NICs are on this wire already"
            self._say(busy if verdict == Verdict.BUSY else f"the other side has {pairs} queue pairs, we {self._pairs}")
            self._wait(_RETRY_S)
            return
        self._stay(connection, fds)

    def _stay(self, connection: socket.socket, fds: list[int]) -> None:
        theirs, ours = fds[1 : 1 + self._pairs], fds[1 + self._pairs :]
        try:
            memory = Mapping(fds[0], _size(self._pairs))
        except BaseException:
            _close([*theirs, *ours])
            raise
        self._peer = Peer(memory, 1, ours, theirs)
        try:
            self._attach(self._peer)
            self._said = ""
            self._wait(None, connection)  # the other side says no more: it left, or we are to
        finally:
            self._gone(None)


def _size(pairs: int) -> int:
    return 2 * pairs * int(lib.VDP_LINK_RING_BYTES)


def _make_peer(pairs: int) -> Peer:
    fd = os.memfd_create("vfiodpa-link", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, _size(pairs))
        # Nobody can take memory away under the other.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    memory = Mapping(fd, _size(pairs))
    events: list[int] = []
    try:
        for _ in range(2 * pairs):
            events.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))  # noqa: PERF401 - see below
    except BaseException:
        memory.close()
        _close(events)
        raise
    return Peer(memory, 0, events[:pairs], events[pairs:])


def _checked(connection: socket.socket) -> socket.socket:
    """Abstract names are for everybody: only our own user is let in."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if uid != os.getuid():
        raise PermissionError(errno.EPERM, f"user {uid} is on the wire")
    return connection


def _close(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
