"""A guest that breaks the rules of its rings stops its own device, once, with one clear line, until it resets.

Around it: the process, another guest on another NIC, and (conftest.py) all fds and threads.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.hostile import CASES, Attack, Case
from tests.e2e.rig import BASIC, DEADLINE, PLAIN, Served, Stream, move, needs_reset, warnings
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.vhost_user import WANTED, VhostUserGuest
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import Protocol, Request, SingleRegion
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.vdpa.datapath import State


def wait_error(guest: VhostUserGuest, queue: int) -> None:
    """The queue's error eventfd is all that the protocol has for it."""
    assert select.select([guest.error_fd(queue)], [], [], DEADLINE)[0], f"no error on queue {queue}"


def check_stopped(
    served: Served, guest: VhostUserGuest, queue: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    wait_error(guest, queue)
    assert needs_reset(guest)
    assert served.datapath.state is State.FAILED
    (line,) = warnings(caplog.records)
    assert served.nic.name in line
    assert str(served.path) in line
    assert f"queue {queue}: " in line
    assert reason in line


def check_recovers(served: Served, guest: VhostUserGuest) -> None:
    """The same connection, after the guest reset its device."""
    guest.reset()
    assert not needs_reset(guest)
    guest.start()
    move(guest, count=200)
    assert served.datapath.state is State.RUNNING


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_broken_ring(
    serve: Serve, connect: Connect, neighbour: Stream, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    attack = Attack(guest)
    case.act(attack)
    attack.tx.kick()
    check_stopped(served, guest, case.queue, case.reason, caplog)
    neighbour.flows()
    check_recovers(served, guest)
    assert len(warnings(caplog.records)) == 1


def test_indirect_without_the_feature(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    served = serve()
    guest = connect(served)
    guest.start(PLAIN)
    attack = Attack(guest)
    attack.indirect(16, (attack.frame, 100, 0, 0))
    attack.tx.kick()
    check_stopped(served, guest, 1, "bad indirect table", caplog)
    check_recovers(served, guest)


def test_a_broken_ring_in_the_middle_of_traffic(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve("soft:queues=2")
    guest = connect(served)
    guest.start(BASIC | Feature.NET_MQ, pairs=2)
    move(guest)
    guest.memory.store16(guest.queues[3].avail_idx_gpa, 7)
    assert guest.queues[3].ring_bell is not None
    guest.queues[3].ring_bell()
    check_stopped(served, guest, 3, "jumped by more", caplog)
    for queue in range(4):
        wait_error(guest, queue)
    check_recovers(served, guest)


@pytest.mark.parametrize(
    "protocol", [WANTED & ~Protocol.STATUS, WANTED & ~Protocol.STATUS & ~Protocol.RESET_DEVICE, Protocol.NONE]
)
def test_guests_of_older_protocols_recover(
    serve: Serve, connect: Connect, protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    """Without SET_STATUS by RESET_DEVICE, without both by stopping all queues."""
    served = serve()
    guest = connect(served, protocol=protocol)
    guest.start()
    attack = Attack(guest)
    attack.tx.offer(0xFFFF)
    attack.tx.kick()
    wait_error(guest, 1)
    assert len(warnings(caplog.records)) == 1
    if protocol & Protocol.RESET_DEVICE:
        guest.reset()
    else:
        guest.stop()
    guest.start()
    move(guest, count=200)


def test_again_and_again(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    served = serve()
    guest = connect(served)
    for _ in range(10):
        guest.start()
        attack = Attack(guest)
        attack.tx.offer(0xFFFF)
        attack.tx.kick()
        wait_error(guest, 1)
        guest.set_status(DeviceStatus(0))
    guest.start()
    move(guest, count=200)
    assert len(warnings(caplog.records)) == 10


def fill(fd: int) -> None:
    """From here on a write to the eventfd blocks."""
    with suppress(BlockingIOError):
        os.eventfd_read(fd)
    os.eventfd_write(fd, 0xFFFF_FFFF_FFFF_FFFE)


def test_a_guest_cannot_block_us_with_a_full_error_fd(serve: Serve, connect: Connect, neighbour: Stream) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    fds = [fd for queue in range(2) for fd in (guest.error_fd(queue), guest.call_fd(queue))]
    for fd in fds:
        fill(fd)
        os.set_blocking(fd, True)
    attack = Attack(guest)
    attack.tx.offer(0xFFFF)
    attack.tx.kick()
    served.wait_state(State.FAILED)
    assert needs_reset(guest)
    for fd in fds:
        os.set_blocking(fd, False)
    check_recovers(served, guest)


# Memory that goes away


def test_memory_is_truncated(
    serve: Serve, connect: Connect, neighbour: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    guest = connect(served, memory=GuestMemory(16 << 20, sealed=False))
    guest.start()
    move(guest, count=200)
    region = guest.memory.regions[0]
    attack = Attack(guest)
    attack.good_frame()
    os.ftruncate(region.mapping.fd, 0)
    attack.tx.kick()
    check_stopped(served, guest, 1, "memory is gone (truncated)", caplog)
    neighbour.flows()
    os.ftruncate(region.mapping.fd, region.length)
    check_recovers(served, guest)


def test_memory_is_truncated_under_a_busy_device(
    serve: Serve, connect: Connect, neighbour: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody kicks: the worker is in the middle of the ring when its memory goes."""
    served = serve("soft:poll=busy")
    guest = connect(served, memory=GuestMemory(16 << 20, sealed=False))
    guest.start()
    os.ftruncate(guest.memory.regions[0].mapping.fd, 0)
    wait_error(guest, 1)
    assert needs_reset(guest)
    (line,) = warnings(caplog.records)
    assert "memory is gone (truncated)" in line
    neighbour.flows()
    os.ftruncate(guest.memory.regions[0].mapping.fd, 16 << 20)
    check_recovers(served, guest)


def test_truncated_memory_is_let_go_of(serve: Serve, connect: Connect, neighbour: Stream) -> None:
    """Position, reset and unmap do not fall over it; the next guest is served."""
    served = serve("soft:model=plain")
    with GuestMemory(16 << 20, sealed=False) as memory:
        guest = connect(served, memory=memory)
        guest.start(BASIC)
        for queue in guest.queues:
            queue.close()  # our own half must not touch it either
        os.ftruncate(memory.regions[0].mapping.fd, 0)
        for index in range(2):
            guest.stop_queue(index)
        guest.vanish()
    served.wait_state(State.IDLE)
    guest = connect(served)
    guest.start()
    move(guest, count=200)


def test_memory_of_buffers_is_unplugged(
    serve: Serve, connect: Connect, neighbour: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    attack = Attack(guest)
    region = guest.add_region(1 << 20)
    gpa = region.gpa
    attack.transmit((gpa, 100, 0, 0))
    attack.tx.kick()
    guest.channel.call(Request.GET_STATUS)
    while not attack.tx.used:
        assert not select.select([guest.error_fd(1)], [], [], 0)[0]
    guest.remove_region(region)
    attack.transmit((gpa, 100, 0, 0))
    attack.tx.kick()
    check_stopped(served, guest, 1, "stopped by the IOMMU", caplog)
    check_recovers(served, guest)


def test_memory_of_rings_is_unplugged(
    serve: Serve, connect: Connect, neighbour: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    stream = Stream(guest, drain=0.0)
    region = guest.memory.regions[0]
    payload = SingleRegion(gpa=region.gpa, length=region.length, uaddr=region.uaddr)
    guest.channel.command(Request.REM_MEM_REG, payload)  # behind our half's back: it still has the memory
    guest._told.forget()
    stream.traffic.stop()
    for queue in range(2):
        wait_error(guest, queue)
    assert needs_reset(guest)
    (line,) = warnings(caplog.records)
    assert str(served.path) in line
    assert "queue 0: " in line
    assert "queue 1: " in line
    assert "not inside one memory region" in line
    neighbour.flows()
    check_recovers(served, guest)
