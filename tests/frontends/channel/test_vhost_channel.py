"""Requests of ours to the front end: doorbell pages, and their acknowledgements."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from tests.frontends.channel.channel_rig import OFFSET, SIZE, TX, Channel, SharingBackend, reply
from tests.frontends.fakes import FakeBackend, Peer, settle
from vfiodpa.errors import Unsupported
from vfiodpa.frontends.frontend import Frontend
from vfiodpa.frontends.vhost_user.channel import REFUSED
from vfiodpa.frontends.vhost_user.offer import offered_protocol
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


def test_no_fd_left(channel: Channel, guest: Peer, backend: SharingBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> int:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(os, "dup", fail)
    guest.start(TX)
    assert backend.refusals == ["no fd is left for the page (EMFILE: Too many open files)"]
    assert channel.silent


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


def test_a_withdrawal_overtakes_what_is_for_later(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    assert backend.frontend
    backend.share(0)
    settle(guest.loop)
    backend.share(TX)
    backend.frontend.withdraw_doorbell(0)
    assert [channel.read()[1].index for _ in range(2)] == [0, VRING_NO_FD]
    with pytest.raises(BlockingIOError):
        channel.read()
    settle(guest.loop)
    assert channel.read()[1].index == TX


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


def test_a_new_channel_replaces_the_old(channel: Channel, guest: Peer, backend: SharingBackend) -> None:
    guest.start(TX)
    other = Channel(guest)
    other.give()
    assert channel.closed
    backend.share(0)
    settle(guest.loop)
    assert other.read()[1].index == 0
    other.sock.close()


def test_front_ends_without_pages_say_so() -> None:
    class Plain(Frontend):
        name = "plain"

        def queue_error(self, queue: int, reason: str) -> None: ...

        def device_failed(self, reason: str) -> None: ...

        def config_changed(self) -> None: ...

    with pytest.raises(Unsupported, match="takes no doorbell pages"):
        Plain().share_doorbell(0, SharedPage(0, 0, PAGE_SIZE), print)
