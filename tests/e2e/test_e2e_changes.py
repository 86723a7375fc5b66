"""What changes while frames flow: memory, eventfds, queues off and on, resets, guests that come back."""

from __future__ import annotations

import os
import time

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import BASIC, Stream, move, needs_reset, warnings
from vfiodpa.drivers.device import QueueState
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.traffic import Plan, Traffic
from vfiodpa.guest.vhost_user import WANTED, VhostUserGuest
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import U64, MemRegion, MemTableHeader, Protocol, Request, VringState
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.vdpa.datapath import State

# What front ends send once they have a position to restore or a queue to start again.
TX_FIRST = (1, 0)  # nothing comes in for a receive queue whose transmit queue is off: no frame may be lost


def halt(guest: VhostUserGuest) -> list[int]:
    """GET_VRING_BASE for all, as a VM that is paused."""
    positions = {index: guest.stop_queue(index) for index in TX_FIRST}
    return [positions[index] for index in sorted(positions)]


def resume(guest: VhostUserGuest, positions: list[int]) -> None:
    """Everything about each queue again, from the position on that the back end told."""
    command = guest.channel.command
    for index, position in enumerate(positions):
        queue = guest.queues[index]
        command(Request.SET_VRING_NUM, VringState(index=index, num=queue.size))
        command(Request.SET_VRING_BASE, VringState(index=index, num=position))
        command(Request.SET_VRING_ADDR, guest.ring_addresses(queue))
        command(Request.SET_VRING_CALL, U64(value=index), [guest.call_fd(index)])
        command(Request.SET_VRING_KICK, U64(value=index), [guest._wires[index].kick])


def enable(guest: VhostUserGuest, on: bool) -> None:
    for index in reversed(TX_FIRST) if on else TX_FIRST:
        guest.enable_queue(index, on)


# Queues off and on


@pytest.mark.parametrize("device", ["soft", "soft:reset=off", "soft:ioeventfd=off"])
def test_queues_are_disabled_and_enabled_under_traffic(serve: Serve, connect: Connect, device: str) -> None:
    guest = connect(serve(device))
    guest.start()
    stream = Stream(guest)
    for _ in range(5):
        enable(guest, False)
        enable(guest, True)
        stream.flows()
    stream.stop()


def test_a_disabled_queue_moves_nothing(serve: Serve, connect: Connect) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    stream = Stream(guest)
    enable(guest, False)
    moved = served.packets(0), served.packets(1)
    time.sleep(0.05)
    assert (served.packets(0), served.packets(1)) == moved
    enable(guest, True)
    stream.flows()
    stream.stop()


@pytest.mark.parametrize("device", ["soft", "soft:reset=off"])
def test_queues_are_paused_and_resumed_under_traffic(serve: Serve, connect: Connect, device: str) -> None:
    guest = connect(serve(device))
    guest.start(base=65000)
    stream = Stream(guest)
    for _ in range(5):
        resume(guest, halt(guest))
        stream.flows()
    stream.stop()


def test_one_pair_stops_while_the_other_goes_on(serve: Serve, connect: Connect) -> None:
    guest = connect(serve("soft:queues=2"))
    guest.start(BASIC | Feature.NET_MQ, pairs=2)
    stream = Stream(guest, pairs=1)
    for queue in (3, 2):
        assert guest.stop_queue(queue) == 0
    stream.flows()
    stream.stop()


# Restart


def test_a_restart_continues_at_the_position(serve: Serve, connect: Connect) -> None:
    guest = connect(serve())
    guest.start()
    for round_ in range(1, 4):
        move(guest, count=300)
        positions = guest.stop()
        assert positions == [300 * round_, 300 * round_]
        guest.start(base=positions[0])
    move(guest)


@pytest.mark.parametrize("base", [0, 65500], ids=["low", "over the wrap"])
def test_a_front_end_that_forgets_positions_goes_on(serve: Serve, connect: Connect, base: int) -> None:
    """It says 0, as DPDK's virtio-user to a back end that takes over; the used ring says where its guest is."""
    guest = connect(serve())
    guest.start(base=base)
    stream = Stream(guest)
    for _ in range(5):
        assert halt(guest) != [0, 0]
        resume(guest, [0, 0])
        stream.flows()
    stream.stop()


def test_a_device_without_positions_refuses_to_continue_and_recovers(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve("soft:model=plain")
    guest = connect(served)
    guest.start()
    move(guest, count=300)
    positions = guest.stop()
    assert positions == [300, 300]
    guest.start(base=300)
    served.wait_state(State.FAILED)
    assert needs_reset(guest)
    assert len(warnings(caplog.records)) == 1
    assert "cannot start at 300" in caplog.text
    guest.set_status(DeviceStatus(0))
    guest.start()
    move(guest)
    assert len(warnings(caplog.records)) == 1


def test_a_packed_guest_starts_anew_on_a_device_without_positions_but_cannot_go_on(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve("soft:model=plain")
    guest = connect(served)
    packed = BASIC | Feature.RING_PACKED
    for _ in range(3):
        guest.start(packed)
        move(guest, count=300)
        positions = guest.stop()
    assert positions == [QueueState.lost().avail] * 2
    assert not warnings(caplog.records)
    guest.start(packed, base=positions[0])
    served.wait_state(State.FAILED)
    assert "cannot start at 0" in caplog.text


@pytest.mark.parametrize("how", ["RESET_DEVICE", "SET_STATUS 0"])
def test_a_reset_under_traffic(serve: Serve, connect: Connect, how: str) -> None:
    served = serve()
    guest = connect(served)
    for _ in range(3):
        guest.start()
        traffic = Traffic(guest, Plan(poll_us=0, drain=0))
        assert not traffic.wait(0.01)
        if how == "RESET_DEVICE":
            guest.reset()
        else:
            guest.set_status(DeviceStatus(0))
        assert served.datapath.state is State.ATTACHED
        assert not traffic.stop().total.fault
    guest.start()
    move(guest)


def test_a_call_fd_outlives_a_reset(serve: Serve, connect: Connect) -> None:
    """RESET_DEVICE forgets rings, not fds."""
    guest = connect(serve())
    guest.start()
    move(guest, count=100)
    position = guest.queues[0].position
    guest.reset()
    guest.set_features(guest.negotiated)
    command = guest.channel.command
    for index, queue in enumerate(guest.queues):
        command(Request.SET_VRING_NUM, VringState(index=index, num=queue.size))
        command(Request.SET_VRING_BASE, VringState(index=index, num=position))
        command(Request.SET_VRING_ADDR, guest.ring_addresses(queue))
        command(Request.SET_VRING_KICK, U64(value=index), [guest._wires[index].kick])
    enable(guest, True)
    guest.set_status(guest_ready())
    move(guest, poll_us=0, window=1)


def guest_ready() -> DeviceStatus:
    s = DeviceStatus
    return s.ACKNOWLEDGE | s.DRIVER | s.FEATURES_OK | s.DRIVER_OK


@pytest.mark.parametrize("protocol", [WANTED, WANTED & ~Protocol.STATUS, Protocol.NONE], ids=["all", "older", "none"])
def test_guests_come_back(serve: Serve, connect: Connect, protocol: Protocol) -> None:
    served = serve()
    for _ in range(20):
        with connect(served, protocol=protocol, memory=GuestMemory(4 << 20)) as guest:
            guest.start()
            move(guest, count=50)
    served.wait_state(State.IDLE)


# Notifications


@pytest.mark.parametrize("device", ["soft:poll=0", "soft:poll=0,ioeventfd=off"])
def test_no_notification_is_lost_while_eventfds_are_exchanged(serve: Serve, connect: Connect, device: str) -> None:
    """Whatever was signalled on an fd that nobody watched is made up for when it is exchanged again."""
    guest = connect(serve(device))
    guest.start()
    stream = Stream(guest)
    other = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    for _ in range(5):
        for index in range(2):
            wires = {Request.SET_VRING_KICK: guest._wires[index].kick, Request.SET_VRING_CALL: guest.call_fd(index)}
            for request, own in wires.items():
                guest.channel.command(request, U64(value=index), [other])
                time.sleep(0.005)  # until all frames are back, or all are sent, and both sides sleep
                guest.channel.command(request, U64(value=index), [own])
                stream.flows(1)
        stream.flows()
    os.close(other)
    stream.stop()


# Memory


def test_memory_comes_and_goes_under_traffic(serve: Serve, connect: Connect) -> None:
    guest = connect(serve())
    guest.start()
    stream = Stream(guest)
    for _ in range(10):
        regions = [guest.add_region(1 << 20) for _ in range(3)]
        for region in regions:
            guest.remove_region(region)
        stream.flows()
    stream.stop()


def test_the_same_table_again_disturbs_nothing(serve: Serve, connect: Connect) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    stream = Stream(guest)
    for _ in range(10):
        guest.send_table()
    stream.flows()
    stream.stop()
    assert served.nic.device.stats()["queue_starts"] == 2


def test_a_table_that_replaces_the_rings_memory_keeps_the_queues_and_their_calls(
    serve: Serve, connect: Connect
) -> None:
    """As QEMU without CONFIGURE_MEM_SLOTS sends it at a hot-plug that changes the region's length."""
    served = serve()
    guest = connect(served)
    guest.start()
    move(guest, count=100)
    region = guest.memory.regions[0]
    wire = MemRegion(gpa=region.gpa, length=region.length - 4096, uaddr=region.uaddr)
    guest.channel.command(Request.SET_MEM_TABLE, MemTableHeader(count=1).pack() + wire.pack(), [region.mapping.fd])
    assert served.nic.device.stats()["queue_starts"] == 4
    move(guest, poll_us=0, window=1)


def test_buffers_in_memory_that_was_plugged_in(serve: Serve, connect: Connect) -> None:
    guest = connect(serve(), memory=GuestMemory(1 << 17))
    guest.start(BASIC)
    guest.add_region(8 << 20)
    move(guest)
    assert guest.memory.regions[1].taken


def test_more_regions_than_a_message_holds(serve: Serve, connect: Connect) -> None:
    guest = connect(serve(), memory=GuestMemory(*[1 << 16] * 20, 8 << 20))
    assert guest.memory_slots >= 509
    guest.start(BASIC)
    move(guest)
