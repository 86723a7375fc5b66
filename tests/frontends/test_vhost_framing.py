"""Headers, sizes, fds and slow peers: what is wrong before a message's content matters."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import pytest

from tests.frontends.fakes import HASTY, FakeBackend, Peer, settle
from vfiodpa.frontends.loop import Loop
from vfiodpa.spec.vhost_user import MAX_PAYLOAD, U64, Header, Request

Warnings = Callable[[], list[str]]


def header(request: int, flags: int = 1, length: int = 0) -> bytes:
    return Header(request=request, flags=flags, length=length).pack()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header(Request.GET_FEATURES, flags=0), "version 0"),
        (header(Request.GET_FEATURES, flags=2), "version 2"),
        (header(Request.GET_FEATURES, flags=5), "reply bit"),
        (header(Request.GET_FEATURES, length=8), "payload of 8 bytes, expected 0"),
        (header(Request.SET_FEATURES, length=0xFFFFFFFF), "payload of 4294967295 bytes"),
        (header(99, length=MAX_PAYLOAD + 1), "payload of 4097 bytes"),
        (header(99), "request 99 refused"),
        (header(0), "request 0 refused"),
        (header(0xFFFFFFFF), "request 4294967295 refused"),
    ],
)
def test_bad_header_closes_with_one_line(peer: Peer, warnings: Warnings, data: bytes, why: str) -> None:
    peer.raw(data)
    assert not peer.alive
    assert len(warnings()) == 1
    assert why in warnings()[0]


def test_unknown_request_is_answered_when_it_asks(peer: Peer) -> None:
    peer.negotiate()
    assert peer.ask(99, b"\0" * 100, ack=True) != 0
    assert peer.alive


def test_unknown_request_with_fds_leaks_none(peer: Peer) -> None:
    peer.negotiate()
    assert peer.ask(99, b"", [peer.eventfd()] * 8, ack=True) != 0


def test_bytes_one_by_one_make_a_message(peer: Peer) -> None:
    for byte in header(Request.GET_FEATURES):
        peer.raw(bytes([byte]))
    assert peer.reply()[0] == Request.GET_FEATURES


def test_several_messages_in_one_write_are_answered_in_order(peer: Peer) -> None:
    peer.raw(header(Request.GET_FEATURES) + header(Request.SET_OWNER) + header(Request.GET_PROTOCOL_FEATURES))
    assert [peer.reply()[0], peer.reply()[0]] == [Request.GET_FEATURES, Request.GET_PROTOCOL_FEATURES]


def test_fds_of_two_messages_in_flight_are_not_mixed_up(peer: Peer, backend: FakeBackend) -> None:
    """Both are in the socket before we read the first."""
    peer.negotiate()
    for queue in (0, 1):
        message = header(Request.SET_VRING_CALL, length=8) + U64(value=queue).pack()
        fd = peer.eventfd()
        os.eventfd_write(fd, queue + 1)
        socket.send_fds(peer.sock, [message], [fd])
    settle(peer.loop)
    assert [os.eventfd_read(backend.call_fds[queue] or -1) for queue in (0, 1)] == [1, 2]


def test_fds_do_not_leak_into_programs_that_we_start(peer: Peer, backend: FakeBackend) -> None:
    peer.send(Request.SET_VRING_CALL, U64(value=0), [peer.eventfd()])
    assert not os.get_inheritable(backend.call_fds[0] or -1)


def test_fds_in_the_middle_of_a_message_are_refused(peer: Peer, warnings: Warnings) -> None:
    peer.raw(header(Request.SET_FEATURES, length=8))
    peer.raw(b"\0" * 8, [peer.eventfd()])
    assert not peer.alive
    assert "after the first byte" in warnings()[0]


@pytest.mark.parametrize("count", [9, 60, 253])
def test_more_fds_than_the_protocol_has(peer: Peer, warnings: Warnings, count: int) -> None:
    peer.raw(header(Request.SET_OWNER), [peer.eventfd()] * count)
    assert not peer.alive
    assert "more than 8 fds" in warnings()[0]


def test_fds_of_a_message_that_never_ends_are_closed(peer: Peer) -> None:
    peer.raw(header(Request.SET_VRING_CALL, length=8), [peer.eventfd()])
    peer.sock.close()  # the loop fixture counts the fds


@pytest.mark.parametrize("cut", [1, 11, 12, 19])
def test_end_within_a_message_is_reported(peer: Peer, warnings: Warnings, cut: int) -> None:
    peer.raw((header(Request.SET_FEATURES, length=8) + b"\0" * 8)[:cut])
    peer.sock.close()
    settle(peer.loop)
    assert len(warnings()) == 1
    assert "closed the socket within" in warnings()[0]


def test_end_between_messages_is_no_warning(peer: Peer, backend: FakeBackend, warnings: Warnings) -> None:
    peer.sock.close()
    settle(peer.loop)
    assert not warnings()
    assert backend.names() == ["attach", "detach"]


@pytest.mark.parametrize("cut", [1, 12, 19])
def test_stalled_peer_is_given_up_and_others_are_served(
    watched: Peer, peer: Peer, warnings: Warnings, cut: int
) -> None:
    watched.raw((header(Request.SET_FEATURES, length=8) + b"\0" * 8)[:cut])
    start = time.monotonic()
    while watched.alive and time.monotonic() < start + 5:
        assert peer.ask(Request.GET_FEATURES)
        time.sleep(0.005)
    assert HASTY * 0.9 <= time.monotonic() - start < 3
    assert peer.alive
    assert len(warnings()) == 1
    assert "stalled within" in warnings()[0]


def test_trickle_does_not_extend_the_deadline(watched: Peer) -> None:
    start = time.monotonic()
    try:
        while watched.alive and time.monotonic() < start + 5:
            watched.raw(header(Request.SET_FEATURES, length=8)[:1])
            time.sleep(HASTY / 8)
    except BrokenPipeError:
        pass
    assert time.monotonic() - start < 3


def test_peer_that_reads_no_replies_is_given_up(watched: Peer, warnings: Warnings) -> None:
    watched.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    start = time.monotonic()
    while not warnings() and time.monotonic() < start + 5:
        try:
            watched.sock.send(header(Request.GET_FEATURES) * 100)
        except BlockingIOError:
            pass
        except OSError:
            break
        watched.loop.run_once(0)
    settle(watched.loop)
    assert "does not read its replies" in warnings()[0]


def test_peer_that_reads_late_gets_every_reply(loop: Loop, peer: Peer) -> None:
    """More requests than the socket holds replies for: the rest waits in the socket, not in memory."""
    sent = got = 0
    data = header(Request.GET_FEATURES) * 4096
    while data and (done := peer.sock.send(data)):
        sent, data = sent + done, data[done:]
        for _ in range(4096):
            loop.run_once(0)
        while got < sent // 12:
            peer.reply()
            got += 1
            loop.run_once(0)
    assert got == 4096


def test_bug_in_a_handler_ends_that_connection_only(peer: Peer, backend: FakeBackend, warnings: Warnings) -> None:
    peer.negotiate()
    backend.fail["set_mtu"] = ZeroDivisionError("a bug")
    peer.send(Request.NET_SET_MTU, U64(value=1500))
    assert not peer.alive
    assert any("internal error" in line for line in warnings())
    assert backend.names()[-1] == "detach"
