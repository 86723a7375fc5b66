"""The vhost-user socket seen from the front end: messages out, replies in, nothing checked for you.

``FrontendChannel`` sends whatever it is told, well-formed or not: protocol tests of a back end are
written on ``send_raw``. Ref: QEMU docs/interop/vhost-user.rst, "Message Specification".
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..errors import ExitCode, ProtocolViolation, VfiodpaError, check, errno_name
from ..layout import Layout
from ..spec.vhost_user import MAX_FDS, MAX_PAYLOAD, U64, VERSION, Header, HeaderFlag, Request

DEFAULT_TIMEOUT = 5.0
_FDS_BYTES = socket.CMSG_SPACE(MAX_FDS * array("i").itemsize)


class PeerClosed(VfiodpaError):
    """The back end closed the connection."""

    exit_code = ExitCode.PEER


class PeerTimeout(VfiodpaError):
    """The back end did not answer in time."""

    exit_code = ExitCode.PEER


class RequestRefused(VfiodpaError):
    """The back end acknowledged a request with an error."""

    exit_code = ExitCode.PEER


@dataclass(frozen=True, slots=True)
class Message:
    """A message as received; whoever takes it owns ``fds``."""

    request: int
    flags: int
    payload: bytes
    fds: tuple[int, ...] = ()

    @property
    def is_reply(self) -> bool:
        """Is the reply bit set?"""
        return bool(self.flags & HeaderFlag.REPLY)

    @property
    def u64(self) -> int:
        """The payload as one 64-bit number."""
        return U64.unpack(self.payload).value

    def close_fds(self) -> None:
        """Close what came with the message."""
        for fd in self.fds:
            os.close(fd)


def request_name(request: int) -> str:
    """``'SET_OWNER'``, or the number of an unknown request."""
    try:
        return Request(request).name
    except ValueError:
        return f"request {request}"


class Channel:
    """One end of a vhost-user connection. Owns the socket; ``timeout`` in seconds bounds every wait."""

    def __init__(self, sock: socket.socket, name: str = "", timeout: float = DEFAULT_TIMEOUT) -> None:
        self.socket = sock
        self.name = name
        self.timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's fd, for select."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close the socket; harmless when already closed."""
        self.socket.close()

    @property
    def closed(self) -> bool:
        """Has ``close`` been called?"""
        return self.socket.fileno() < 0

    # Out

    def send_raw(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes as they are; ``fds`` (borrowed) travel with the first byte."""
        self.socket.settimeout(self.timeout)
        try:
            sent = socket.send_fds(self.socket, [data], list(fds)) if fds else self.socket.send(data)
            self.socket.sendall(data[sent:])
        except TimeoutError:
            raise PeerTimeout("the peer does not read", device=self.name) from None
        except OSError as error:
            raise PeerClosed(f"cannot send ({errno_name(error.errno or 0)})", device=self.name) from error

    def send(
        self,
        request: int,
        payload: Layout | bytes = b"",
        fds: Sequence[int] = (),
        *,
        need_reply: bool = False,
        flags: int | None = None,
    ) -> None:
        """Send one message with a correct size; ``flags`` overrides version and need_reply."""
        body = payload.pack() if isinstance(payload, Layout) else payload
        if flags is None:
            flags = VERSION | (HeaderFlag.NEED_REPLY if need_reply else 0)
        self.send_raw(Header(request=request, flags=flags, length=len(body)).pack() + body, fds)

    def reply(self, message: Message, payload: Layout | bytes) -> None:
        """Answer a message."""
        self.send(message.request, payload, flags=VERSION | HeaderFlag.REPLY)

    # In

    def recv(self, timeout: float | None = None) -> Message:
        """The next message; raises ``PeerClosed`` at the end of the stream, ``PeerTimeout`` after ``timeout``."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        fds: list[int] = []
        try:
            header = Header.unpack(self._recv(Header.size, end, fds))
            if header.length > MAX_PAYLOAD:
                raise ProtocolViolation(f"a message of {header.length} bytes", device=self.name)
            payload = self._recv(header.length, end, fds)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return Message(header.request, header.flags, payload, tuple(fds))

    def _recv(self, size: int, end: float, fds: list[int]) -> bytes:
        data = b""
        while len(data) < size:
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                part, control, _, _ = self.socket.recvmsg(size - len(data), _FDS_BYTES, socket.MSG_CMSG_CLOEXEC)
            except TimeoutError:
                raise PeerTimeout("the peer does not answer", device=self.name) from None
            except OSError as error:
                raise PeerClosed(f"connection lost ({errno_name(error.errno or 0)})", device=self.name) from error
            for _, _, item in control:
                fds.extend(array("i", item[: len(item) - len(item) % 4]))
            if not part:
                raise PeerClosed("the peer closed the connection", device=self.name)
            data += part
        return data

    def closed_by_peer(self, timeout: float = 1.0) -> bool:
        """Does the peer close the connection within ``timeout`` without saying anything?"""
        try:
            self.recv(timeout).close_fds()
        except PeerClosed:
            return True
        except PeerTimeout:
            return False
        return False


class FrontendChannel(Channel):
    """The front end's end: requests with their replies and acknowledgements."""

    acks = False  # REPLY_ACK is negotiated

    @classmethod
    def connect(cls, path: str | os.PathLike[str], timeout: float = DEFAULT_TIMEOUT) -> Self:
        """Connect to a listening back end; waits until it listens."""
        end = time.monotonic() + timeout
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            code = sock.connect_ex(str(path))
            if code == 0:
                return cls(sock, str(path), timeout)
            sock.close()
            if code not in (errno.ENOENT, errno.ECONNREFUSED) or time.monotonic() >= end:
                check(-code, "cannot connect", device=str(path), remedy="start the back end first")
            time.sleep(0.01)

    @classmethod
    def accept(cls, path: str | os.PathLike[str], timeout: float = DEFAULT_TIMEOUT) -> Self:
        """Listen on ``path`` for one back end in client mode; the socket file is removed afterwards."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            try:
                listener.listen(1)
                listener.settimeout(timeout)
                return cls(listener.accept()[0], str(path), timeout)
            except TimeoutError:
                raise PeerTimeout("no back end connected", device=str(path)) from None
            finally:
                with contextlib.suppress(FileNotFoundError):
                    Path(path).unlink()

    def call(self, request: int, payload: Layout | bytes = b"", fds: Sequence[int] = ()) -> Message:
        """Send a request that has a reply of its own, and return that."""
        self.send(request, payload, fds)
        return self._reply_to(request)

    def command(self, request: int, payload: Layout | bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a request without a reply; where REPLY_ACK is negotiated, raise ``RequestRefused`` on an error."""
        self.send(request, payload, fds, need_reply=self.acks)
        if not self.acks:
            return
        code = self._reply_to(request).u64
        if code:
            raise RequestRefused(f"{request_name(request)} was refused ({code:#x})", device=self.name)

    def _reply_to(self, request: int) -> Message:
        try:
            message = self.recv()
        except VfiodpaError as error:
            raise type(error)(f"{request_name(request)}: {error.what}", device=self.name) from error
        if message.request != request or not message.is_reply:
            message.close_fds()
            name = request_name(message.request)
            raise ProtocolViolation(f"{request_name(request)} was answered by {name}", device=self.name)
        return message
