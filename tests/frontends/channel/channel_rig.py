"""The two ends of the channel for back-end requests: a back end that shares pages, and the front end's side."""

from __future__ import annotations

import os
import socket

from tests.frontends.fakes import FakeBackend, Peer, settle
from vfiodpa.errors import Unsupported
from vfiodpa.memory import PAGE_SIZE
from vfiodpa.pci.function import SharedPage
from vfiodpa.spec.vhost_user import U64, BackendRequest, Header, HeaderFlag, Request, VringArea

TX = 1
SIZE = Header.size + VringArea.size
OFFSET = 3 * PAGE_SIZE


class SharingBackend(FakeBackend):
    """Shares a page at each start of a queue, as the core does, and withdraws it before the stop."""

    shares_doorbells = True

    def __init__(self) -> None:
        super().__init__()
        self.page = os.memfd_create("page", os.MFD_CLOEXEC)
        self.answers: list[tuple[int, str]] = []
        self.refusals: list[str] = []

    def start_queue(self, queue: int) -> None:
        super().start_queue(queue)
        self.share(queue)

    def share(self, queue: int) -> None:
        assert self.frontend
        page = SharedPage(self.page, OFFSET, PAGE_SIZE)
        try:
            self.frontend.share_doorbell(queue, page, lambda why: self.answers.append((queue, why)))
        except Unsupported as error:
            self.refusals.append(error.what)

    def enable_queue(self, queue: int, on: bool) -> None:
        super().enable_queue(queue, on)
        if not on and self.frontend:
            self.frontend.withdraw_doorbell(queue)


class Channel:
    """The front end's end of the channel."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sock, self.theirs = socket.socketpair()
        self.sock.setblocking(False)

    def give(self) -> None:
        with self.theirs:
            assert self.peer.acked(Request.SET_BACKEND_REQ_FD, b"", [self.theirs.fileno()])

    def read(self) -> tuple[Header, VringArea, list[int]]:
        data, fds, _, _ = socket.recv_fds(self.sock, SIZE, 8, socket.MSG_CMSG_CLOEXEC)
        self.peer.fds += fds
        return Header.unpack(data), VringArea.unpack(data[Header.size :]), fds

    @property
    def silent(self) -> bool:
        settle(self.peer.loop)
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True

    @property
    def closed(self) -> bool:
        settle(self.peer.loop)
        try:
            while self.sock.recv(4096):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True

    def say(self, data: bytes) -> None:
        self.sock.send(data)
        settle(self.peer.loop)

    def acknowledge(self, code: int = 0) -> None:
        self.say(reply() + U64(value=code).pack())


def reply(
    request: int = BackendRequest.VRING_HOST_NOTIFIER_MSG, length: int = 8, flags: int = 1 | HeaderFlag.REPLY
) -> bytes:
    return Header(request=request, flags=flags, length=length).pack()
