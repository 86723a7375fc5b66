"""Front ends that misbehave on the channel for back-end requests: garbage, silence, sockets that fill or close."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.frontends.channel.channel_rig import TX, Channel, SharingBackend, reply
from tests.frontends.fakes import HASTY, Peer, open_fds, settle
from vfiodpa.spec.vhost_user import BackendRequest, HeaderFlag, Request, VringState

B = BackendRequest
R = Request
Warnings = Callable[[], list[str]]
SHARES = 600  # more than a socket takes


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
    assert channel.closed


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
