"""Requests of ours to the front end: doorbell pages, their acknowledgements, and front ends that misbehave."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.frontends.fakes import HASTY, FakeBackend, Peer, open_fds, settle
from vfiodpa.errors import Unsupported
from vfiodpa.frontends.frontend import Frontend
from vfiodpa.frontends.loop import Loop
from vfiodpa.frontends.vhost_user.channel import REFUSED
from vfiodpa.frontends.vhost_user.offer import offered_protocol
from vfiodpa.frontends.vhost_user.server import Server
from vfiodpa.memory import PAGE_SIZE
from vfiodpa.pci.function import SharedPage
from vfiodpa.spec.vhost_user import (
    HOST_NOTIFIERS,
    U64,
    VRING_NO_FD,
    BackendRequest,
    Header,
    HeaderFlag,
    Protocol,
    Request,
    VringArea,
    VringState,
)

B = BackendRequest
R = Request
Warnings = Callable[[], list[str]]
TX = 1
SHARES = 600  # more than a socket takes
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
            assert self.peer.acked(R.SET_BACKEND_REQ_FD, b"", [self.theirs.fileno()])

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


def reply(request: int = B.VRING_HOST_NOTIFIER_MSG, length: int = 8, flags: int = 1 | HeaderFlag.REPLY) -> bytes:
    return Header(request=request, flags=flags, length=length).pack()


@pytest.fixture
def backend(loop: Loop) -> Iterator[SharingBackend]:
    one = SharingBackend()
    yield one
    os.close(one.page)


@pytest.fixture
def channel(guest: Peer) -> Iterator[Channel]:
    """Everything negotiated, and the channel handed over."""
    one = Channel(guest)
    one.give()
    yield one
    one.sock.close()
    one.theirs.close()


def test_offered_only_where_pages_can_be_shared(backend: SharingBackend) -> None:
    assert int(offered_protocol(backend)) & HOST_NOTIFIERS == HOST_NOTIFIERS
    assert int(offered_protocol(FakeBackend())) & HOST_NOTIFIERS == Protocol.BACKEND_REQ


def test_the_page_and_where_it_is(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    guest.start(TX)
    header, area, fds = channel.read()
    assert (header.request, header.flags) == (B.VRING_HOST_NOTIFIER_MSG, 1 | HeaderFlag.NEED_REPLY)
    assert area == VringArea(index=TX, length=PAGE_SIZE, offset=OFFSET)
    assert [os.fstat(fd).st_ino for fd in fds] == [os.fstat(backend.page).st_ino]
    assert channel.silent


def test_nothing_is_sent_inside_a_handler(
    channel: Channel, guest: Peer, backend: SharingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    real = backend.start_queue

    def start(queue: int) -> None:
        real(queue)
        with pytest.raises(BlockingIOError):
            channel.sock.recv(1, socket.MSG_PEEK)
        seen.append(True)

    monkeypatch.setattr(backend, "start_queue", start)
    guest.start(TX)
    assert seen
    assert not channel.silent


@pytest.mark.parametrize(("code", "why"), [(0, ""), (1, REFUSED), (1 << 63, REFUSED)])
def test_the_answer(channel: Channel, guest: Peer, backend: SharingBackend, code: int, why: str) -> None:
    guest.start(TX)
    assert backend.answers == []
    channel.acknowledge(code)
    assert backend.answers == [(TX, why)]
    assert not channel.closed


def test_an_answer_in_pieces(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    guest.start(TX)
    for byte in reply() + U64().pack():
        assert backend.answers == []
        channel.say(bytes([byte]))
    assert backend.answers == [(TX, "")]


def test_answers_belong_to_their_queues(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    guest.start(0)
    guest.start(TX)
    channel.acknowledge(1)
    channel.acknowledge(0)
    assert backend.answers == [(0, REFUSED), (TX, "")]


def test_without_reply_ack_it_counts_as_taken(peer: Peer, backend: SharingBackend) -> None:
    peer.negotiate(protocol=int(HOST_NOTIFIERS))
    sock, theirs = socket.socketpair()
    peer.send(R.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
    backend.share(0)
    settle(peer.loop)
    assert Header.unpack(sock.recv(SIZE)).flags == 1
    assert backend.answers == [(0, "")]
    sock.close()
    theirs.close()


def test_what_was_not_negotiated_is_named(peer: Peer, backend: SharingBackend) -> None:
    peer.negotiate(protocol=int(Protocol.REPLY_ACK | Protocol.BACKEND_REQ))
    backend.share(0)
    assert backend.refusals == ["the front end did not negotiate BACKEND_SEND_FD|HOST_NOTIFIER"]


def test_without_a_channel(guest: Peer, backend: SharingBackend) -> None:
    guest.start(TX)
    assert backend.refusals == ["the front end has no channel open for back-end requests"]


def test_a_withdrawal_goes_out_before_the_answer_and_wants_none(
    channel: Channel, guest: Peer, backend: SharingBackend
) -> None:
    guest.start(TX)
    channel.read()
    guest.sock.setblocking(True)
    guest.sock.send(Header(request=R.SET_VRING_ENABLE, flags=9, length=8).pack() + VringState(index=TX, num=0).pack())
    guest.loop.run_once(1)  # the header
    guest.loop.run_once(1)  # the message, and no timer fired between
    header, area, fds = channel.read()
    assert (header.flags, area.index, fds) == (1, TX | VRING_NO_FD, [])
    guest.sock.setblocking(False)
    assert guest.reply() == (R.SET_VRING_ENABLE, U64().pack())
    channel.acknowledge()  # of the page: too late
    assert backend.answers == []
    assert not channel.closed


def test_a_page_that_was_not_sent_yet_is_dropped(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    backend.share(TX)
    assert backend.frontend
    backend.frontend.withdraw_doorbell(TX)
    assert channel.silent
    assert backend.answers == []


def test_shared_again_after_a_restart(channel: Channel, guest: Peer) -> None:
    guest.start(TX)
    for on in (0, 1):
        assert guest.acked(R.SET_VRING_ENABLE, VringState(index=TX, num=on))
    guest.ask(R.GET_VRING_BASE, VringState(index=TX))
    guest.start(TX)
    assert [channel.read()[1].index for _ in range(3)] == [TX, TX | VRING_NO_FD, TX]


@pytest.mark.parametrize(
    "garbage",
    [
        reply(request=B.VRING_CALL) + bytes(8),
        reply(length=16) + bytes(8),
        reply(length=0xFFFFFFFF),
        reply(flags=1) + bytes(8),
        reply(flags=2 | HeaderFlag.REPLY) + bytes(8),
        reply() + bytes(8) + reply() + bytes(8),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["other request", "too long", "huge", "no reply", "version", "one too many", "text"],
)
def test_garbage_closes_the_channel_and_nothing_else(
    channel: Channel, guest: Peer, backend: SharingBackend, warnings: Warnings, garbage: bytes
) -> None:
    guest.start(TX)
    channel.say(garbage)
    assert channel.closed
    assert len(warnings()) == 1
    assert "channel for back-end requests closed" in warnings()[0]
    assert len(backend.answers) == 1
    assert guest.alive
    backend.share(TX)
    assert backend.refusals == ["the front end has no channel open for back-end requests"]


def test_words_without_a_question(channel: Channel, warnings: Warnings) -> None:
    channel.acknowledge()
    assert channel.closed
    assert "where nothing was asked" in warnings()[0]


def test_a_closed_channel_is_no_fault(
    channel: Channel, guest: Peer, backend: SharingBackend, warnings: Warnings
) -> None:
    guest.start(TX)
    channel.sock.close()
    settle(guest.loop)
    assert backend.answers == [(TX, "the front end closed it")]
    guest.start(0)
    assert guest.acked(R.SET_VRING_ENABLE, VringState(index=TX, num=0))
    assert guest.alive
    assert warnings() == []


def test_an_unread_page_goes_with_the_channel(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    backend.share(TX)  # not sent yet
    channel.sock.close()
    settle(guest.loop)
    assert backend.answers[0][0] == TX


@pytest.fixture
def hasty(loop: Loop, backend: SharingBackend, tmp_path: Path) -> Iterator[Channel]:
    """On a server that soon loses its patience."""
    with Server(loop, tmp_path / "hasty", backend, deadline=HASTY) as server:
        peer = Peer(loop, server.path)
        peer.negotiate()
        peer.add_memory()
        one = Channel(peer)
        one.give()
        yield one
        one.sock.close()
        peer.close()


def test_no_answer(hasty: Channel, backend: SharingBackend, warnings: Warnings) -> None:
    hasty.peer.start(TX)
    hasty.read()
    hasty.peer.loop.run_once(2)
    assert backend.answers == [(TX, "the front end acknowledges nothing within 0.1 s")]
    assert hasty.closed
    assert hasty.peer.alive
    assert len(warnings()) == 1


def test_an_answer_in_time_stops_the_clock(hasty: Channel, backend: SharingBackend) -> None:
    hasty.peer.start(TX)
    hasty.acknowledge()
    hasty.peer.loop.run_once(3 * HASTY)
    assert not hasty.closed
    assert backend.answers == [(TX, "")]


def fill(channel: Channel, backend: SharingBackend) -> int:
    """Share until the socket takes no more; returns how often."""
    channel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for count in range(SHARES):
        backend.share(count % 2)
    settle(channel.peer.loop)
    return SHARES


def test_a_full_socket_does_not_block(hasty: Channel, backend: SharingBackend) -> None:
    count = fill(hasty, backend)
    assert hasty.peer.alive
    hasty.peer.loop.run_once(2)
    assert len(backend.answers) == count
    assert "does not read its requests" in backend.answers[0][1]
    assert hasty.peer.alive


def test_what_waits_for_room_is_sent_in_order(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    count = fill(channel, backend)
    got: list[int] = []
    while len(got) < count:
        try:
            got.append(channel.read()[1].index)
            os.close(guest.fds.pop())
        except BlockingIOError:
            settle(guest.loop)
    assert got == [number % 2 for number in range(count)]


def test_a_withdrawal_waits_for_room_too(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    assert backend.frontend
    fill(channel, backend)
    backend.frontend.withdraw_doorbell(0)
    backend.share(0)
    last = []
    while not channel.silent:
        last.append(channel.read()[1].index)
        for fd in guest.fds[2:]:
            os.close(fd)
        del guest.fds[2:]
    assert [index for index in last if index != TX][-1] == 0


def test_a_new_channel_replaces_the_old(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    guest.start(TX)
    other = Channel(guest)
    other.give()
    assert channel.closed
    backend.share(0)
    settle(guest.loop)
    assert other.read()[1].index == 0
    other.sock.close()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_the_channel_is_a_stream(guest: Peer, warnings: Warnings, kind: socket.SocketKind) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    assert not guest.acked(R.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
    assert "must be a Unix stream socket" in warnings()[0]
    ours.close()
    theirs.close()


def test_an_unconnected_channel(guest: Peer, warnings: Warnings) -> None:
    with socket.socket(socket.AF_UNIX) as lonely:
        assert guest.acked(R.SET_BACKEND_REQ_FD, b"", [lonely.fileno()])
        settle(guest.loop)
    assert guest.alive
    assert len(warnings()) <= 1


def test_a_guest_that_leaves_with_pages_on_the_way(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    guest.start(TX)
    backend.share(0)
    guest.sock.close()
    settle(guest.loop)
    assert backend.frontend is None  # and the loop's fixture looks for fds


@given(words=st.lists(st.binary(max_size=40), max_size=5))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_it_says(guest: Peer, backend: SharingBackend, words: list[bytes]) -> None:
    one = Channel(guest)
    one.give()
    backend.share(0)
    settle(guest.loop)
    before = open_fds()
    try:
        for word in words:
            one.say(word)
    except BrokenPipeError:  # closed, as it should be
        pass
    assert guest.alive
    assert len(open_fds()) <= len(before)
    one.sock.close()
    settle(guest.loop)


def test_front_ends_without_pages_say_so() -> None:
    class Plain(Frontend):
        name = "plain"

        def queue_error(self, queue: int, reason: str) -> None: ...

        def device_failed(self, reason: str) -> None: ...

        def config_changed(self) -> None: ...

    with pytest.raises(Unsupported, match="takes no doorbell pages"):
        Plain().share_doorbell(0, SharedPage(0, 0, PAGE_SIZE), print)
