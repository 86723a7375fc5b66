"""Every message of the protocol: accepted, wrong size, wrong fds, not negotiated, out of order."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.frontends.fakes import FEATURES, GUEST_BASE, MEMORY, USER_BASE, FakeBackend, Peer, region, ring_at, table
from vfiodpa.errors import Unsupported
from vfiodpa.layout import Layout
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import BEFORE_FEATURES, RULES, U64, Protocol, Request, VringState

R = Request
Warnings = Callable[[], list[str]]
SECOND = GUEST_BASE + MEMORY


def channel(peer: Peer) -> int:
    ours, theirs = socket.socketpair()
    peer.fds += [ours.detach(), theirs.detach()]
    return peer.fds[-1]


def sample(request: Request, peer: Peer) -> tuple[bytes, list[int]]:
    """A correct payload and fds for a guest with memory, whose queue 1 is described and not started."""
    second = region(SECOND, USER_BASE + MEMORY)
    samples: dict[Request, tuple[Layout | bytes, Callable[[], list[int]]]] = {
        R.SET_FEATURES: (U64(value=int(FEATURES | Feature.VHOST_PROTOCOL_FEATURES)), list),
        R.SET_MEM_TABLE: (table(region()), lambda: [peer.memfd()]),
        R.SET_VRING_NUM: (VringState(index=0, num=256), list),
        R.SET_VRING_ADDR: (ring_at(0), list),
        R.SET_VRING_BASE: (VringState(index=0, num=7), list),
        R.GET_VRING_BASE: (VringState(index=0), list),
        R.SET_VRING_KICK: (U64(value=1), lambda: [peer.eventfd()]),
        R.SET_VRING_CALL: (U64(value=1), lambda: [peer.eventfd()]),
        R.SET_VRING_ERR: (U64(value=1), lambda: [peer.eventfd()]),
        R.SET_PROTOCOL_FEATURES: (U64(value=int(Protocol.REPLY_ACK | Protocol.MQ)), list),
        R.SET_VRING_ENABLE: (VringState(index=0, num=1), list),
        R.SEND_RARP: (b"\x52\x54\x00\x01\x02\x03\0\0", list),
        R.NET_SET_MTU: (U64(value=1500), list),
        R.SET_BACKEND_REQ_FD: (b"", lambda: [channel(peer)]),
        R.ADD_MEM_REG: (second, lambda: [peer.memfd()]),
        R.REM_MEM_REG: (region(), list),
        R.SET_STATUS: (U64(value=15), list),
    }
    rule = RULES[request]
    body, fds = samples.get(request, (b"\0" * rule.payload.size, lambda: [peer.eventfd()] * rule.fds[0]))
    return (body.pack() if isinstance(body, Layout) else body), fds()


SUPPORTED = {
    R.GET_FEATURES,
    R.SET_FEATURES,
    R.SET_OWNER,
    R.RESET_OWNER,
    R.SET_MEM_TABLE,
    R.SET_VRING_NUM,
    R.SET_VRING_ADDR,
    R.SET_VRING_BASE,
    R.GET_VRING_BASE,
    R.SET_VRING_KICK,
    R.SET_VRING_CALL,
    R.SET_VRING_ERR,
    R.GET_PROTOCOL_FEATURES,
    R.SET_PROTOCOL_FEATURES,
    R.GET_QUEUE_NUM,
    R.SET_VRING_ENABLE,
    R.SEND_RARP,
    R.NET_SET_MTU,
    R.SET_BACKEND_REQ_FD,
    R.RESET_DEVICE,
    R.GET_MAX_MEM_SLOTS,
    R.ADD_MEM_REG,
    R.REM_MEM_REG,
    R.SET_STATUS,
    R.GET_STATUS,
}
REFUSED = set(Request) - SUPPORTED


def ready(peer: Peer) -> None:
    peer.negotiate()
    peer.add_memory()
    peer.describe(1)


def test_the_table_covers_all_43() -> None:
    assert {int(request) for request in RULES} == set(range(1, 44))


@pytest.mark.parametrize("request_", SUPPORTED, ids=lambda r: r.name)
def test_accepted(peer: Peer, request_: Request, warnings: Warnings) -> None:
    ready(peer)
    body, fds = sample(request_, peer)
    if RULES[request_].reply:
        peer.ask(request_, body, fds)
    else:
        assert peer.acked(request_, body, fds)
        peer.send(request_, body, fds) if request_ not in (R.SET_VRING_KICK, R.REM_MEM_REG) else None
    assert peer.alive
    assert not warnings()


def both_ways(least: Callable[[Request], int]) -> list[tuple[Request, int]]:
    """One more for all, one less where there is something to take away."""
    return [(request, by) for request in Request for by in (-1, 1) if by > 0 or least(request)]


@pytest.mark.parametrize(("request_", "by"), both_ways(lambda request: RULES[request].payload.size))
def test_wrong_size_closes(peer: Peer, request_: Request, by: int, warnings: Warnings) -> None:
    ready(peer)
    body, fds = sample(request_, peer)
    rule = RULES[request_]
    body = body[: rule.payload.size - 1] if by < 0 else body + bytes(rule.payload.size + rule.more + 1 - len(body))
    peer.send(request_, body, fds, ack=True)
    assert not peer.alive
    assert len(warnings()) == 1


@pytest.mark.parametrize(("request_", "by"), both_ways(lambda request: RULES[request].fds[0]))
def test_wrong_number_of_fds_closes(peer: Peer, request_: Request, by: int, warnings: Warnings) -> None:
    ready(peer)
    body, fds = sample(request_, peer)
    high = RULES[request_].fds[1]
    fds = fds[:-1] if by < 0 else fds + [peer.eventfd()] * (high - len(fds) + 1)
    peer.send(request_, body, fds, ack=True)
    assert not peer.alive
    assert len(warnings()) == 1
    assert "fds, expected" in warnings()[0] or "more than 8 fds" in warnings()[0]


GATED = [request for request in Request if RULES[request].gate]


@pytest.mark.parametrize("request_", GATED, ids=lambda r: r.name)
def test_without_its_protocol_feature(peer: Peer, request_: Request, warnings: Warnings) -> None:
    peer.negotiate(protocol=int(Protocol.REPLY_ACK))
    body, fds = sample(request_, peer)
    if RULES[request_].reply:  # it has no place for a refusal
        peer.send(request_, body, fds, ack=True)
        assert not peer.alive
    else:
        assert not peer.acked(request_, body, fds)
        assert peer.alive
        peer.send(request_, body, fds)
        assert not peer.alive
    assert "was not negotiated" in warnings()[0]


@pytest.mark.parametrize("request_", sorted(SUPPORTED - BEFORE_FEATURES), ids=lambda r: r.name)
def test_before_set_features(peer: Peer, request_: Request, warnings: Warnings) -> None:
    peer.send(R.SET_PROTOCOL_FEATURES, U64(value=peer.ask(R.GET_PROTOCOL_FEATURES)))
    body, fds = sample(request_, peer)
    assert not peer.acked(request_, body, fds)
    assert "before SET_FEATURES" in warnings()[0]
    assert peer.alive


@pytest.mark.parametrize("request_", sorted(SUPPORTED & BEFORE_FEATURES), ids=lambda r: r.name)
def test_early_ones_are_accepted_early(peer: Peer, request_: Request) -> None:
    peer.send(R.SET_PROTOCOL_FEATURES, U64(value=peer.ask(R.GET_PROTOCOL_FEATURES)))
    body, fds = sample(request_, peer)
    body = U64(value=3).pack() if request_ is R.SET_STATUS else body
    if RULES[request_].reply:
        peer.ask(request_, body, fds)
    else:
        assert peer.acked(request_, body, fds)
    assert peer.alive


@pytest.mark.parametrize("request_", sorted(REFUSED), ids=lambda r: r.name)
def test_what_a_network_back_end_does_not_have(peer: Peer, request_: Request, warnings: Warnings) -> None:
    ready(peer)
    body, fds = sample(request_, peer)
    peer.send(request_, body, fds)
    assert not peer.alive
    assert len(warnings()) == 1
    assert f"{request_.name} refused" in warnings()[0]


def test_what_the_front_end_does_itself_is_not_asked_of_the_device(guest: Peer, backend: FakeBackend) -> None:
    own = Feature.VHOST_PROTOCOL_FEATURES | Feature.NET_GUEST_ANNOUNCE
    assert guest.ask(R.GET_FEATURES) & own == own
    assert guest.acked(R.SET_FEATURES, U64(value=int(FEATURES | own)))
    assert backend.of("set_features")[-1] == (FEATURES,)


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (R.SET_FEATURES, U64(value=int(FEATURES | Feature.RING_PACKED))),
        (R.SET_FEATURES, U64(value=1 << 63)),
        (R.SET_PROTOCOL_FEATURES, U64(value=int(Protocol.INFLIGHT_SHMFD))),
        (R.SET_PROTOCOL_FEATURES, U64(value=1 << 63)),
        (R.NET_SET_MTU, U64(value=67)),
        (R.NET_SET_MTU, U64(value=65536)),
        (R.SET_STATUS, U64(value=0x100)),
        (R.SET_VRING_ENABLE, VringState(index=0, num=2)),
    ],
)
def test_bad_values_are_refused(guest: Peer, request_: Request, body: Layout) -> None:
    assert not guest.acked(request_, body)
    assert guest.alive


def test_refusal_without_need_reply_closes(guest: Peer, warnings: Warnings) -> None:
    guest.send(R.NET_SET_MTU, U64(value=0))
    assert not guest.alive
    assert len(warnings()) == 1
    assert "NET_SET_MTU refused: 0 is no MTU" in warnings()[0]


def test_refusal_with_need_reply_but_without_reply_ack_closes(peer: Peer) -> None:
    peer.negotiate(protocol=int(Protocol.MTU))
    peer.send(R.NET_SET_MTU, U64(value=0), ack=True)
    assert not peer.alive


def test_need_reply_without_reply_ack_is_not_answered(peer: Peer) -> None:
    peer.negotiate(protocol=int(Protocol.MTU))
    peer.send(R.NET_SET_MTU, U64(value=1500), ack=True)
    with pytest.raises(BlockingIOError):
        peer.reply()


def test_need_reply_on_a_request_with_its_own_reply_gives_one_reply(guest: Peer) -> None:
    assert guest.ask(R.GET_QUEUE_NUM, ack=True) == 2
    assert guest.alive
    with pytest.raises(BlockingIOError):
        guest.reply()


def test_refusal_by_the_core_is_a_refusal(guest: Peer, backend: FakeBackend) -> None:
    backend.fail["set_mtu"] = Unsupported("no such MTU")
    assert not guest.acked(R.NET_SET_MTU, U64(value=9000))
    assert guest.acked(R.NET_SET_MTU, U64(value=9000))


def test_numbers_that_are_told(guest: Peer) -> None:
    assert guest.ask(R.GET_QUEUE_NUM) == 2
    assert guest.ask(R.GET_MAX_MEM_SLOTS) == 509


def test_rarp_reaches_the_core(guest: Peer, backend: FakeBackend) -> None:
    guest.send(R.SEND_RARP, b"\x52\x54\x00\x01\x02\x03\0\0")
    assert backend.of("announce") == [(b"\x52\x54\x00\x01\x02\x03",)]


def test_channel_must_be_a_socket(guest: Peer, warnings: Warnings) -> None:
    assert not guest.acked(R.SET_BACKEND_REQ_FD, b"", [guest.eventfd()])
    assert "must be a socket, got an eventfd" in warnings()[0]


def test_reply_ack_counts_from_the_next_message(peer: Peer) -> None:
    peer.send(R.SET_PROTOCOL_FEATURES, U64(value=int(Protocol.REPLY_ACK)), ack=True)
    with pytest.raises(BlockingIOError):
        peer.reply()
    assert peer.acked(R.SET_OWNER)
