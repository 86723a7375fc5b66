"""The software NIC's control queue: commands by hand, good and bad, over both layouts of ring."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soft.soft_rig import Nic, S, fired
from vfiodpa._native import lib
from vfiodpa.errors import Unsupported
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.queue import DriverQueue
from vfiodpa.memory import Iova
from vfiodpa.soft import commands
from vfiodpa.soft.commands import COMMANDS, NetState, Refused
from vfiodpa.soft.virtio_net import NOTIFY_OFFSET
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_net import Ack, CtrlClass, MacCommand, MqCommand, RxCommand, VlanCommand
from vfiodpa.spec.virtio_ring import DescFlag, SplitDesc

F = Feature
Make = Callable[[str], Nic]
BASIC = F.VERSION_1 | F.INDIRECT_DESC | F.EVENT_IDX | F.NET_CTRL_VQ | F.NET_CTRL_RX | F.NET_CTRL_MAC_ADDR | F.NET_MAC
MQ = BASIC | F.NET_MQ
MAC = bytes.fromhex("525400aabbcc")
UNTOUCHED = 0x55
PROMISC = bytes([CtrlClass.RX, RxCommand.PROMISC, 1])


class Control:
    """A driver with nothing but a control queue."""

    def __init__(self, nic: Nic, features: Feature = BASIC, *, index: int = 2, vector: int | None = None) -> None:
        self.nic = nic
        self.index = index
        self.memory = GuestMemory(1 << 20)
        for region in self.memory.regions:
            nic.f.dma.map(Iova(region.gpa), region.mapping)
        assert nic.to_features_ok(int(features))
        self.queue = DriverQueue(self.memory, 16, features, index=index, ring_bell=lambda: nic.bell(index))
        common = nic.common
        common.queue_select = index
        common.queue_size = 16
        common.queue_desc, common.queue_driver = self.queue.desc, self.queue.driver
        common.queue_device = self.queue.device
        if vector is not None:
            common.queue_msix_vector = vector
        common.queue_enable = 1
        common.device_status |= S.DRIVER_OK
        self.ack = self.memory.alloc(64)
        self.at = self.memory.alloc(16384)

    def send(self, command: bytes, *, cut: tuple[int, ...] = (2,), room: int = 1) -> int:
        """Send bytes, in buffers that end at ``cut``; returns the ack."""
        self.memory.write(self.at, command or b"\0")
        self.memory.write(self.ack, bytes([UNTOUCHED]) * 4)
        ends = sorted({*(c for c in cut if c < len(command)), len(command)})
        starts = [0, *ends]
        readable = [(self.at + a, b - a) for a, b in zip(starts, ends, strict=False) if b > a]
        self.queue.send(readable, [(self.ack, room)] if room else [])
        used = self.queue.pop()
        assert used is not None, "not answered"
        assert used.length == min(room, 1)
        return self.memory.read(self.ack, 1)[0]

    def close(self) -> None:
        self.queue.close()
        for region in self.memory.regions:
            self.nic.f.dma.unmap(Iova(region.gpa), region.length)
        self.memory.close()


@pytest.fixture
def control(make_nic: Make) -> Control:
    return Control(make_nic("soft:model=plain"))


@pytest.mark.parametrize(("model", "layout"), list(product(["default", "plain"], [F(0), F.RING_PACKED])))
def test_a_command_is_carried_out(make_nic: Make, model: str, layout: Feature) -> None:
    nic = make_nic(f"soft:model={model}")
    control = Control(nic, BASIC | layout)
    for _ in range(40):  # some laps
        assert control.send(PROMISC) == Ack.OK
    assert nic.f.device.settings.modes == {RxCommand.PROMISC: True}


@pytest.mark.parametrize("cut", [(), (1,), (2,), (1, 2, 3), (3, 4, 5, 6, 7)])
def test_how_it_is_cut_into_buffers_does_not_matter(control: Control, cut: tuple[int, ...]) -> None:
    assert control.send(bytes([CtrlClass.MAC, MacCommand.ADDR_SET]) + MAC, cut=cut) == Ack.OK
    assert bytes(control.nic.net.mac) == MAC


def test_without_multiqueue_it_is_queue_2(make_nic: Make) -> None:
    assert Control(make_nic("soft:model=plain,queues=3"), BASIC).send(PROMISC) == Ack.OK


def test_with_multiqueue_it_comes_behind_all_pairs(make_nic: Make) -> None:
    nic = make_nic("soft:model=plain,queues=3")
    assert nic.net.max_virtqueue_pairs == 3
    control = Control(nic, MQ, index=6)
    pairs = bytes([CtrlClass.MQ, MqCommand.VQ_PAIRS_SET])
    for count, answer in ((3, Ack.OK), (1, Ack.OK), (0, Ack.ERR), (4, Ack.ERR), (0x8001, Ack.ERR)):
        assert control.send(pairs + count.to_bytes(2, "little")) == answer


def test_one_pair_until_more_are_asked_for(make_nic: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    nic = make_nic("soft:model=plain,queues=3")
    told: list[int] = []
    monkeypatch.setattr(nic.f.device.engine, "set_active_pairs", told.append)
    assert nic.to_features_ok(int(MQ))
    assert told[-1] == 1


BAD = {
    "unknown class": bytes([99, 0]),
    "unknown command": bytes([CtrlClass.RX, 99, 1]),
    "nothing": b"",
    "class only": b"\0",
    "mode without data": PROMISC[:2],
    "mode with too much": PROMISC + b"\0",
    "mode 2": PROMISC[:2] + b"\2",
    "feature not negotiated": bytes([CtrlClass.VLAN, VlanCommand.ADD, 1, 0]),
    "short address": bytes([CtrlClass.MAC, MacCommand.ADDR_SET]) + MAC[:5],
    "long address": bytes([CtrlClass.MAC, MacCommand.ADDR_SET]) + MAC + b"\0",
    "table cut off": bytes([CtrlClass.MAC, MacCommand.TABLE_SET, 2, 0, 0, 0]) + MAC,
    "table without end": bytes([CtrlClass.MAC, MacCommand.TABLE_SET]) + b"\xff" * 8,
    "oversized": PROMISC + bytes(8000),
}


@pytest.mark.parametrize("layout", [F(0), F.RING_PACKED], ids=["split", "packed"])
@pytest.mark.parametrize("command", BAD.values(), ids=BAD)
def test_what_makes_no_sense_is_refused_and_changes_nothing(make_nic: Make, command: bytes, layout: Feature) -> None:
    nic = make_nic("soft:model=plain")
    before = bytes(nic.net.mac)
    control = Control(nic, BASIC | layout)
    assert control.send(command) == Ack.ERR
    assert (nic.f.device.settings.modes, nic.f.device.settings.unicast) == ({}, ())
    assert bytes(nic.net.mac) == before
    assert control.send(PROMISC) == Ack.OK  # and the queue goes on


def test_an_oversized_command_is_not_looked_at(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more was copied than there is room for."""
    seen: list[object] = []
    monkeypatch.setattr(commands, "run", lambda *arguments: seen.append(arguments))
    assert control.send(PROMISC + bytes(lib.VDP_CONTROL_MAX)) == Ack.ERR
    assert seen == []


def test_no_room_for_the_answer(control: Control) -> None:
    assert control.send(PROMISC, room=0) == UNTOUCHED
    assert control.send(PROMISC) == Ack.OK


def test_a_device_reset_forgets(control: Control) -> None:
    nic, before = control.nic, bytes(control.nic.net.mac)
    control.send(PROMISC)
    control.send(bytes([CtrlClass.MAC, MacCommand.ADDR_SET]) + MAC)
    nic.common.device_status = 0
    assert nic.f.device.settings.modes == {}
    assert bytes(nic.net.mac) == before


def test_the_answer_is_notified(make_nic: Make) -> None:
    nic = make_nic("soft:model=plain")
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    nic.f.set_irq(1, fd)
    control = Control(nic, vector=1)
    control.queue.calls(True)
    control.send(PROMISC)
    assert fired(fd) == 1
    os.close(fd)


@pytest.mark.parametrize(
    ("desc", "why"),
    [
        (SplitDesc(addr=0xDEAD_0000, len=2, flags=0), "stopped by the IOMMU"),
        (SplitDesc(addr=0, len=2, flags=int(DescFlag.NEXT), next=0), "loops"),
        (SplitDesc(addr=0, len=2, flags=int(DescFlag.NEXT), next=77), "outside the table"),
        (SplitDesc(addr=0, len=15, flags=int(DescFlag.INDIRECT)), "bad indirect"),
        (SplitDesc(addr=1 << 63, len=2, flags=int(DescFlag.WRITE)), "stopped by the IOMMU"),
    ],
)
def test_a_broken_ring_is_the_devices_error(control: Control, desc: SplitDesc, why: str) -> None:
    if not desc.addr:
        desc.addr = control.at
    head = control.queue.add([(control.at, 2)])
    control.memory.write(control.queue.desc + head * SplitDesc.size, desc.pack())
    control.queue.publish()
    control.queue.kick(force=True)
    assert control.nic.wait_needs_reset()
    assert "queue 2: " in control.nic.f.diagnose()
    assert why in control.nic.f.diagnose()


def test_readable_behind_writable_is_the_devices_error(make_nic: Make) -> None:
    control = Control(make_nic("soft:model=plain"), BASIC & ~F.INDIRECT_DESC)
    head = control.queue.add([(control.at, 2), (control.at, 2)])
    first = SplitDesc.unpack(control.memory.read(control.queue.desc + head * SplitDesc.size, SplitDesc.size))
    first.flags |= DescFlag.WRITE
    control.memory.write(control.queue.desc + head * SplitDesc.size, first.pack())
    control.queue.publish()
    control.queue.kick(force=True)
    assert control.nic.wait_needs_reset()
    assert "readable after writable" in control.nic.f.diagnose()


# The table itself


def state() -> NetState:
    return NetState(4, lambda _mac: None, lambda _pairs: None)


ALL = F(sum({command.needs for command in COMMANDS.values()}))


def test_tables_and_vlans_are_kept() -> None:
    one = state()
    table = (1).to_bytes(4, "little") + MAC + (2).to_bytes(4, "little") + bytes(12)
    commands.run(one, ALL, bytes([CtrlClass.MAC, MacCommand.TABLE_SET]) + table)
    assert (one.unicast, one.multicast) == ((MAC,), (bytes(6), bytes(6)))
    for vlan in (7, 9):
        commands.run(one, ALL, bytes([CtrlClass.VLAN, VlanCommand.ADD, vlan, 0]))
    commands.run(one, ALL, bytes([CtrlClass.VLAN, VlanCommand.DEL, 7, 0]))
    assert one.vlans == {9}
    one.clear()
    assert (one.unicast, one.multicast, one.vlans) == ((), (), set())


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40) | st.tuples(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=40)))
def test_any_bytes_are_run_or_refused(what: bytes | tuple[tuple[int, int], bytes]) -> None:
    command = what if isinstance(what, bytes) else bytes(what[0]) + what[1]
    with contextlib.suppress(Refused):
        commands.run(state(), ALL, command)


def test_its_doorbell_cannot_be_bound(make_nic: Make) -> None:
    nic, fd = make_nic("soft"), os.eventfd(0, os.EFD_NONBLOCK)
    with pytest.raises(Unsupported, match="register only"):
        nic.f.ioeventfd(0, NOTIFY_OFFSET + 8, 16, 2, fd)
    os.close(fd)
