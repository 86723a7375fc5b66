"""Ring messages: sizes, addresses, bases, fds, start and stop."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.frontends.fakes import FEATURES, GUEST_BASE, MEMORY, USER_BASE, FakeBackend, Peer, region, ring_at
from vfiodpa.errors import DeviceError, Unsupported
from vfiodpa.frontends.frontend import Ring
from vfiodpa.memory import Gpa
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import U64, VRING_NO_FD, Protocol, Request, VringAddr, VringState

R = Request
Warnings = Callable[[], list[str]]


@pytest.mark.parametrize("size", [1, 2, 256, 1024, 32768])
def test_sizes(guest: Peer, size: int) -> None:
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=size))


@pytest.mark.parametrize("size", [0, 3, 255, 65535, 65536, 0xFFFFFFFF])
def test_bad_sizes(guest: Peer, size: int) -> None:
    assert not guest.acked(R.SET_VRING_NUM, VringState(index=0, num=size))
    assert guest.alive


@pytest.mark.parametrize(("base", "good"), [(0, True), (0xFFFF, True), (0x10000, False), (0xFFFFFFFF, False)])
def test_bases(guest: Peer, base: int, good: bool) -> None:
    assert guest.acked(R.SET_VRING_BASE, VringState(index=0, num=base)) == good


INDEXED = [R.SET_VRING_NUM, R.SET_VRING_BASE, R.SET_VRING_ENABLE]


@pytest.mark.parametrize("index", [4, 255, 256, 0xFFFFFFFF])
def test_queue_that_is_not_there(guest: Peer, index: int) -> None:
    for request in INDEXED:
        assert not guest.acked(request, VringState(index=index, num=1))
    assert not guest.acked(R.SET_VRING_ADDR, VringAddr(index=index, desc=USER_BASE, avail=USER_BASE, used=USER_BASE))
    for request in (R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR):
        if not index & VRING_NO_FD:
            assert not guest.acked(request, U64(value=index & 0xFF), [guest.eventfd()])
    assert guest.alive
    guest.send(R.GET_VRING_BASE, VringState(index=index))
    assert not guest.alive


def moved(**parts: int) -> VringAddr:
    addresses = ring_at(0)
    for name, value in parts.items():
        setattr(addresses, name, value)
    return addresses


END = USER_BASE + MEMORY


@pytest.mark.parametrize(
    ("addresses", "why"),
    [
        (moved(desc=USER_BASE + 8), "descriptor table at 0x7f0000000008 is not aligned to 16"),
        (moved(avail=USER_BASE + 1), "available ring at 0x7f0000000001 is not aligned to 2"),
        (moved(used=USER_BASE + 2), "used ring at 0x7f0000000002 is not aligned to 4"),
        (moved(desc=0), "descriptor table at 0x0 (0x1000 bytes) is not inside one memory region"),
        (moved(avail=END), "available ring"),
        (moved(used=END - 0x800), "used ring"),
        (moved(desc=END - 0x1000 + 16), "descriptor table"),
        (moved(desc=(1 << 64) - 16), "descriptor table"),
        (moved(desc=GUEST_BASE), "descriptor table"),  # a guest address is no user address
        (moved(flags=1), "logging"),
    ],
)
def test_bad_addresses(guest: Peer, addresses: VringAddr, why: str, warnings: Warnings) -> None:
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=256))
    assert not guest.acked(R.SET_VRING_ADDR, addresses)
    assert why in warnings()[0]


def test_part_across_two_regions_is_refused(guest: Peer) -> None:
    """Adjacent for the front end, but two mappings."""
    assert guest.acked(R.ADD_MEM_REG, region(GUEST_BASE + MEMORY, END), [guest.memfd()])
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=256))
    assert not guest.acked(R.SET_VRING_ADDR, moved(desc=END - 0x800))
    assert guest.acked(R.SET_VRING_ADDR, moved(desc=END))


def test_last_bytes_of_a_region_can_be_a_ring(guest: Peer) -> None:
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=256))
    assert guest.acked(R.SET_VRING_ADDR, moved(desc=END - 0x1000))


def test_addresses_are_checked_again_for_the_size_that_comes_later(guest: Peer) -> None:
    assert guest.acked(R.SET_VRING_ADDR, moved(desc=END - 0x1000))
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=512))
    assert not guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])


def test_start_tells_the_core_everything_in_guest_addresses(guest: Peer, backend: FakeBackend) -> None:
    guest.describe(1, size=512, base=9)
    backend.calls.clear()
    assert guest.acked(R.SET_VRING_KICK, U64(value=1), [guest.eventfd()])
    ring = Ring(512, Gpa(GUEST_BASE + 0x10000), Gpa(GUEST_BASE + 0x14000), Gpa(GUEST_BASE + 0x15000))
    assert backend.calls == [
        ("set_ring", 1, ring),
        ("set_base", 1, 9),
        ("set_call", 1, False),
        ("set_kick", 1, True),
        ("start_queue", 1),
    ]


@pytest.mark.parametrize("missing", ["SET_VRING_NUM", "SET_VRING_ADDR"])
def test_start_needs_size_and_addresses(guest: Peer, backend: FakeBackend, missing: str, warnings: Warnings) -> None:
    for request, body in ((R.SET_VRING_NUM, VringState(index=0, num=256)), (R.SET_VRING_ADDR, ring_at(0))):
        if request.name != missing:
            assert guest.acked(request, body)
    assert not guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])
    assert f"cannot start before {missing}" in warnings()[0]
    assert not backend.of("start_queue")


@pytest.mark.parametrize("fail", ["set_ring", "set_base", "set_kick", "start_queue"])
def test_start_that_the_core_refuses_can_be_tried_again(guest: Peer, backend: FakeBackend, fail: str) -> None:
    guest.describe(0)
    backend.fail[fail] = Unsupported("not from there")
    assert not guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])
    assert backend.kicks.get(0) is None
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=128))
    assert guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (R.SET_VRING_NUM, VringState(index=0, num=128)),
        (R.SET_VRING_BASE, VringState(index=0, num=1)),
        (R.SET_VRING_ADDR, ring_at(0)),
        (R.SET_FEATURES, U64(value=int(FEATURES))),
        (R.SET_PROTOCOL_FEATURES, U64(value=int(Protocol.REPLY_ACK))),
    ],
)
def test_description_cannot_change_while_running(guest: Peer, request_: Request, body: VringState) -> None:
    guest.start(0)
    assert not guest.acked(request_, body)
    guest.ask(R.GET_VRING_BASE, VringState(index=0))
    assert guest.acked(request_, body)


def test_same_features_again_while_running(guest: Peer, backend: FakeBackend) -> None:
    """QEMU repeats them for each queue pair."""
    guest.start(0)
    assert guest.acked(R.SET_FEATURES, U64(value=int(FEATURES | Feature.VHOST_PROTOCOL_FEATURES)))
    assert len(backend.of("set_features")) == 1


# Stop


def test_stop_answers_the_position_and_lets_go_of_the_fds(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    backend.position[0] = 0xFFFE
    backend.calls.clear()
    assert guest.ask(R.GET_VRING_BASE, VringState(index=0)) == 0xFFFE
    assert backend.calls == [("stop_queue", 0), ("set_kick", 0, False), ("set_call", 0, False)]


def test_stopped_ring_starts_where_it_stopped(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    backend.position[0] = 300
    guest.ask(R.GET_VRING_BASE, VringState(index=0))
    assert guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])
    assert backend.of("set_base")[-1] == (0, 300)


def test_stop_of_a_ring_that_never_ran(guest: Peer, backend: FakeBackend) -> None:
    assert guest.acked(R.SET_VRING_BASE, VringState(index=2, num=5))
    assert guest.ask(R.GET_VRING_BASE, VringState(index=2)) == 5
    assert not backend.of("stop_queue")


def test_one_ring_stops_alone(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    guest.start(1)
    guest.ask(R.GET_VRING_BASE, VringState(index=1))
    assert backend.of("stop_queue") == [(1,)]
    assert not guest.acked(R.SET_VRING_NUM, VringState(index=0, num=2))


def test_device_that_does_not_stop_ends_the_connection(guest: Peer, backend: FakeBackend, warnings: Warnings) -> None:
    guest.start(0)
    backend.fail["stop_queue"] = DeviceError("does not stop")
    guest.send(R.GET_VRING_BASE, VringState(index=0))
    assert not guest.alive
    assert backend.names()[-1] == "detach"
    assert len(warnings()) == 1


# fds


def test_call_may_change_while_running(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    old = backend.call_fds[0]
    fd = guest.eventfd()
    assert guest.acked(R.SET_VRING_CALL, U64(value=0), [fd])
    assert backend.call_fds[0] not in (None, old)
    os.eventfd_write(backend.call_fds[0] or -1, 3)
    assert os.eventfd_read(fd) == 3


def test_call_set_once_is_told_again_at_each_start(guest: Peer, backend: FakeBackend) -> None:
    fd = guest.eventfd()
    assert guest.acked(R.SET_VRING_CALL, U64(value=0), [fd])
    assert guest.acked(R.RESET_DEVICE)
    backend.call_fds.clear()  # as a core may
    guest.negotiate()
    guest.describe(0)
    assert guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])
    os.eventfd_write(backend.call_fds[0] or -1, 1)
    assert os.eventfd_read(fd) == 1


def test_call_without_fd_means_that_the_guest_polls(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    assert guest.acked(R.SET_VRING_CALL, U64(value=0 | VRING_NO_FD))
    assert backend.call_fds[0] is None


def test_call_that_the_core_refuses_leaves_the_old_one(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    old = backend.call_fds[0]
    backend.fail["set_call"] = Unsupported("no vector left")
    assert not guest.acked(R.SET_VRING_CALL, U64(value=0), [guest.eventfd()])
    assert backend.call_fds[0] == old
    os.fstat(old or -1)


def test_kick_may_change_while_running(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    assert guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])
    assert backend.of("start_queue") == [(0,)]
    os.fstat(backend.kicks[0] or -1)


def test_polled_kick_is_refused(guest: Peer, warnings: Warnings) -> None:
    guest.describe(0)
    assert not guest.acked(R.SET_VRING_KICK, U64(value=VRING_NO_FD))
    assert "wants its ring polled" in warnings()[0]


@pytest.mark.parametrize("request_", [R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR])
@pytest.mark.parametrize("what", ["a pipe", "a socket", "a regular file", "an epoll fd", "a device"])
def test_notification_fds_must_be_eventfds(
    guest: Peer, tmp_path: Path, request_: Request, what: str, warnings: Warnings
) -> None:
    guest.describe(0)
    if what == "a pipe":
        guest.fds += os.pipe()
    elif what == "a socket":
        guest.fds += [end.detach() for end in socket.socketpair()]
    elif what == "a regular file":
        guest.fds.append(os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR))
    elif what == "an epoll fd":
        with select.epoll() as epoll:
            guest.fds.append(os.dup(epoll.fileno()))
    else:
        guest.fds.append(os.open("/dev/null", os.O_RDWR))
    assert not guest.acked(request_, U64(value=0), guest.fds[-1:])
    assert "must be an eventfd, got " in warnings()[0]
    assert guest.alive


@pytest.mark.parametrize("request_", [R.SET_VRING_KICK, R.SET_VRING_CALL, R.SET_VRING_ERR])
@pytest.mark.parametrize(("value", "fds"), [(0, 0), (VRING_NO_FD, 1)])
def test_no_fd_bit_and_fds_must_agree(guest: Peer, request_: Request, value: int, fds: int) -> None:
    guest.describe(0)
    guest.send(request_, U64(value=value), [guest.eventfd() for _ in range(fds)], ack=True)
    assert not guest.alive


def test_unknown_bits_beside_the_index(guest: Peer) -> None:
    assert not guest.acked(R.SET_VRING_CALL, U64(value=0x200), [guest.eventfd()])
    assert not guest.acked(R.SET_VRING_CALL, U64(value=1 << 63), [guest.eventfd()])


def test_eventfds_are_made_non_blocking(guest: Peer, backend: FakeBackend) -> None:
    fd = os.eventfd(0)
    guest.fds.append(fd)
    assert guest.acked(R.SET_VRING_CALL, U64(value=0), [fd])
    assert not os.get_blocking(backend.call_fds[0] or -1)


def test_queue_error_signals_the_error_fd(guest: Peer, backend: FakeBackend) -> None:
    err = guest.eventfd()
    assert guest.acked(R.SET_VRING_ERR, U64(value=1), [err])
    assert backend.frontend
    backend.frontend.queue_error(1, "a loop in its descriptors")
    backend.frontend.queue_error(0, "nobody listens")
    assert os.eventfd_read(err) == 1


def test_full_error_fd_does_not_block(guest: Peer, backend: FakeBackend) -> None:
    err = guest.eventfd()
    os.eventfd_write(err, 0xFFFFFFFFFFFFFFFE)
    assert guest.acked(R.SET_VRING_ERR, U64(value=1), [err])
    os.set_blocking(err, True)  # the guest's end is the same open file
    assert backend.frontend
    backend.frontend.queue_error(1, "again")


# Enable


def test_enable_and_disable(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    assert guest.acked(R.SET_VRING_ENABLE, VringState(index=0, num=0))
    assert backend.of("enable_queue") == [(0, True), (0, False)]


def test_without_protocol_features_a_started_ring_is_enabled(peer: Peer, backend: FakeBackend) -> None:
    peer.send(R.SET_OWNER)
    peer.send(R.SET_FEATURES, U64(value=int(FEATURES)))
    peer.send(R.SET_MEM_TABLE, b"\1" + bytes(7) + region().pack()[8:], [peer.memfd()])
    peer.send(R.SET_VRING_NUM, VringState(index=0, num=256))
    peer.send(R.SET_VRING_ADDR, ring_at(0))
    peer.send(R.SET_VRING_KICK, U64(value=0), [peer.eventfd()])
    names = backend.names()
    assert names[-6:] == ["set_ring", "set_base", "enable_queue", "set_call", "set_kick", "start_queue"]
    assert peer.alive
    peer.send(R.SET_VRING_ENABLE, VringState(index=0, num=1))
    assert not peer.alive
