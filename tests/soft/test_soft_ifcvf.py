"""The software NIC as IFCVF: its registers, and what it does not forgive."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.soft.soft_rig import Nic, Ring
from vfiodpa._native import ffi, lib
from vfiodpa.errors import DeviceError, DriverBreach
from vfiodpa.memory import Iova, Mapping
from vfiodpa.soft.ifcvf import STOP_READS
from vfiodpa.spec.features import Feature
from vfiodpa.spec.ifcvf import DIRTY_PAGE, LmByPair, LogControl
from vfiodpa.spec.pci import Command
from vfiodpa.spec.virtio_pci import DeviceStatus

MakeNic = Callable[[str], Nic]
LOG = 0x4000_0000


@pytest.fixture
def nic(make_nic: MakeNic) -> Nic:
    return make_nic("soft:model=ifcvf,queues=2")


def lm(nic: Nic) -> LmByPair:
    return LmByPair(nic.f.bar(4))


def stop(nic: Nic, queue: int) -> None:
    nic.common.queue_select = queue
    nic.common.queue_enable = 0
    while nic.common.queue_enable:
        pass


def test_identity(nic: Nic) -> None:
    header = nic.header
    ids = (header.vendor_id, header.device_id, header.subsystem_vendor_id, header.subsystem_id)
    assert ids == (0x1AF4, 0x1041, 0x8086, 0x001A)
    assert not nic.offered() & Feature.RING_RESET
    assert nic.f.bar(2).read(12, 32) == 1  # MSI-X moved: a masked entry
    assert lm(nic).log_control == LogControl.OFF


def test_without_bar_4(make_nic: MakeNic) -> None:
    with pytest.raises(DeviceError, match="BAR 4 is not implemented"):
        make_nic("soft:model=ifcvf,lm=none").f.bar(4)


def test_a_queue_stops_some_time_after_it_was_told_to(nic: Nic) -> None:
    nic.bring_up()
    nic.common.queue_select = 1
    nic.common.queue_enable = 0
    assert [nic.common.queue_enable for _ in range(STOP_READS + 1)] == [1] * (STOP_READS - 1) + [0, 0]


def test_until_it_has_stopped_a_queue_moves_on_and_its_state_is_old(nic: Nic) -> None:
    nic.bring_up()
    ring = Ring(nic, 1)
    nic.common.queue_select = 1
    nic.common.queue_enable = 0
    ring.offer(bytes(72))
    nic.bell(1)
    assert ring.wait_used(1)
    assert lm(nic).transmit_state == 0
    stop(nic, 1)
    assert lm(nic).transmit_state == 0x0001_0001
    ring.offer(bytes(72))
    nic.bell(1)
    nic.wait_asleep()
    assert ring.used == 1


def test_a_queue_starts_where_its_state_says(nic: Nic) -> None:
    assert nic.to_features_ok()
    nic.set_up(3)
    nic.f.bar(4).write(0x64, 32, 0xFFFE_FFFE)
    lm(nic).active_pairs = 2
    ring = Ring(nic, 3)
    ring.avail = 0xFFFE
    ring.put(0x8000 + 2, ring.avail.to_bytes(2, "little"))
    nic.common.queue_enable = 1
    nic.common.device_status |= DeviceStatus.DRIVER_OK
    ring.offer(bytes(72))
    nic.bell(3)
    assert ring.wait_used(0xFFFF)
    stop(nic, 3)
    assert nic.f.bar(4).read(0x64, 32) == 0xFFFF_FFFF


def test_a_stopped_queue_goes_on_without_a_new_set_up(nic: Nic) -> None:
    """It was not reset: addresses, size and state are there still."""
    nic.bring_up()
    ring = Ring(nic, 1)
    for used in (1, 2):
        ring.offer(bytes(72))
        nic.bell(1)
        assert ring.wait_used(used)
        stop(nic, 1)
        nic.common.queue_enable = 1


def test_a_reset_clears_states(nic: Nic) -> None:
    nic.bring_up()
    ring = Ring(nic, 1)
    ring.offer(bytes(72))
    nic.bell(1)
    assert ring.wait_used(1)
    stop(nic, 1)
    assert lm(nic).transmit_state
    nic.to_driver()
    assert (lm(nic).transmit_state, lm(nic).active_pairs) == (0, 1)


def test_states_by_queue(make_nic: MakeNic) -> None:
    nic = make_nic("soft:model=ifcvf,queues=2,lm=queues")
    window = nic.f.bar(4)
    for queue in range(4):
        window.write(0x20 + 4 * queue, 16, 0x100 + queue)
    assert [window.read(0x20 + 4 * queue, 32) for queue in range(4)] == [0x100, 0x101, 0x102, 0x103]
    assert nic.to_features_ok()
    window.write(0x28, 16, 0x77)
    nic.enable(2)
    stop(nic, 2)
    assert window.read(0x28, 16) == 0x77


def test_active_pairs(nic: Nic) -> None:
    nic.bring_up()
    lm(nic).active_pairs = 2
    ring = Ring(nic, 3)
    ring.offer(bytes(72))
    nic.bell(3)
    assert ring.wait_used(1)


def test_where_no_register_is_it_reads_0(nic: Nic) -> None:
    window = nic.f.bar(4)
    for offset, width in ((0x2C, 16), (0xA0, 32), (0xFFC, 32), (0x2D, 8)):
        window.write(offset, width, 0xFF)
        assert window.read(offset, width) == 0


def enabled(nic: Nic) -> None:
    assert nic.to_features_ok()
    nic.enable(0)


def half_told(nic: Nic) -> None:
    assert nic.to_features_ok()
    nic.set_up(0)
    lm(nic).receive_state = 7


BREACHES: list[tuple[Callable[[Nic], object], Callable[[Nic], object], str]] = [
    (half_told, lambda n: setattr(n.common, "queue_enable", 1), "state of queue 0: available 7, used 0"),
    (enabled, lambda n: setattr(lm(n), "receive_state", 7), "written while the queue is enabled"),
    (enabled, lambda n: setattr(n.common, "queue_enable", 1), "enabled twice"),
    (enabled, lambda n: setattr(n.common, "queue_enable", 2), "not 1"),
    (enabled, lambda n: setattr(n.common, "queue_size", 4), "written while the queue is enabled"),
    (enabled, lambda n: n.f.bar(4).read(0x20, 16), "LM+0x20: 16-bit read"),
    (enabled, lambda n: n.f.bar(4).write(0x22, 32, 1), "LM+0x22: 32-bit write"),
    (enabled, lambda n: setattr(lm(n), "active_pairs", 3), "3 written, the device has 1 to 2"),
    (enabled, lambda n: setattr(lm(n), "log_control", 1), "switched on for a log at 0x0 to 0x0"),
    (enabled, lambda n: setattr(n.common, "queue_reset", 1), "without RING_RESET negotiated"),
]


@pytest.mark.parametrize(("before", "did", "says"), BREACHES, ids=[b[2] for b in BREACHES])
def test_breaches(nic: Nic, before: Callable[[Nic], object], did: Callable[[Nic], object], says: str) -> None:
    before(nic)
    with pytest.raises(DriverBreach, match=re.escape(says)):
        did(nic)


def test_stopping_by_queue_enable_is_a_breach_of_every_other_model(make_nic: MakeNic) -> None:
    nic = make_nic("soft")
    enabled(nic)
    with pytest.raises(DriverBreach, match="nothing but 1"):
        nic.common.queue_enable = 0


# Dirty log


@pytest.fixture
def logged(nic: Nic) -> Nic:
    """Running, with the dirty log on in memory at LOG."""
    memory = Mapping.create(0x1000)
    nic.f.dma.map(Iova(LOG), memory)
    nic.bring_up()
    block = lm(nic)
    block.log_base, block.log_end = LOG, LOG + 0x1000
    block.log_control = LogControl.ON
    nic.memory_of_log = memory  # type: ignore[attr-defined]
    return nic


def send(nic: Nic) -> tuple[Ring, Ring]:
    rx, tx = Ring(nic, 0), Ring(nic, 1)
    rx.offer(bytes(256), writable=True)
    tx.offer(bytes(72))
    nic.bell(1)
    return rx, tx


def receive(nic: Nic) -> Ring:
    rx, tx = send(nic)
    assert tx.wait_used(1)
    return rx


def bits(memory: Mapping) -> set[int]:
    out = ffi.new("char[]", memory.length)
    assert lib.vdp_guest_copy_in(out, ffi.cast("void *", memory.address), memory.length) == 0
    data = int.from_bytes(bytes(ffi.buffer(out)), "little")
    return {bit for bit in range(data.bit_length()) if data >> bit & 1}


def test_the_page_of_a_received_frame_is_logged(logged: Nic) -> None:
    rx = receive(logged)
    assert bits(logged.memory_of_log) == {(rx.base + rx.buffers) // DIRTY_PAGE}  # type: ignore[attr-defined]


def test_nothing_is_logged_once_it_is_off(logged: Nic) -> None:
    lm(logged).log_control = LogControl.OFF
    receive(logged)
    assert bits(logged.memory_of_log) == set()  # type: ignore[attr-defined]


def test_a_log_that_is_taken_away_while_it_is_on(logged: Nic) -> None:
    logged.f.dma.unmap(Iova(LOG), 0x1000)
    send(logged)
    assert logged.wait_needs_reset()
    assert re.search("queue 0: access to 0x40000002 stopped", logged.f.diagnose())


def test_a_device_reset_leaves_the_log_on_and_a_function_reset_does_not(logged: Nic) -> None:
    logged.bring_up()
    receive(logged)
    assert bits(logged.memory_of_log)  # type: ignore[attr-defined]
    assert lm(logged).log_control == LogControl.ON
    logged.f.reset()
    logged.header.command = Command.MEMORY
    assert lm(logged).log_control == LogControl.OFF
