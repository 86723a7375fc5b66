"""IFCVF: where its states are, what they mean, and how its queues stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.drivers.fake_function import BASIC, FakeFunction
from tests.drivers.test_on_soft import GUEST, Rig
from vfiodpa.drivers.device import QueueSetup, QueueState
from vfiodpa.drivers.ifcvf import IFCVF
from vfiodpa.drivers.quirks import PciId
from vfiodpa.drivers.registry import driver_for, record_for
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.drivers.waiting import Deadlines
from vfiodpa.errors import DeviceError, DeviceGone, StateError, Unsupported
from vfiodpa.memory import Iova, Mapping
from vfiodpa.pci.function import IovaRange
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_pci import NO_VECTOR

FAST = Deadlines(reset=0.4, queue_stop=0.4)
N3000: dict[str, Any] = {
    "subsystem_vendor": 0x8086,
    "subsystem": 0x001A,
    "vendor_bar": True,
    "features": int(BASIC | Feature.NET_MQ | Feature.NET_CTRL_VQ),
    "pairs": 4,
    "num_queues": 9,
    "vectors": 9,
}
LOG = IovaRange(0x1_2345_6000, 0x1_2345_7FFF)


def ring(avail: int = 0) -> QueueSetup:
    return QueueSetup(256, Iova(0x1000), Iova(0x2000), Iova(0x3000), QueueState(avail))


def opened(function: FakeFunction | None = None) -> tuple[FakeFunction, VirtioPci]:
    function = function or FakeFunction(**N3000)
    nic = VirtioPci(function, IFCVF, FAST)
    nic.negotiate(Feature.VERSION_1)
    function.log.clear()
    return function, nic


class Decoding(FakeFunction):
    """A card whose LM block has registers at some offsets only; others read 0. ``mask``: address bits decoded."""

    def __init__(self, *offsets: int, mask: int = 0xFFF) -> None:
        self.offsets, self.mask = offsets, mask
        super().__init__(**N3000)

    def _store(self, bar: int, name: str, offset: int, value: int) -> None:
        if not bar or offset & self.mask in self.offsets:
            super()._store(bar, name, offset & self.mask if bar else offset, value)

    def _load(self, bar: int, name: str, offset: int, width: int) -> int:
        return super()._load(bar, name, offset & self.mask if bar else offset, width)


# Which card


@pytest.mark.parametrize("ids", [(0x1041, 0x001A), (0x1000, 0x0001)], ids=["N3000", "C5000X"])
def test_ids(ids: tuple[int, int]) -> None:
    device, subsystem = ids
    assert record_for(PciId(0x1AF4, device, 0x8086, subsystem)) is IFCVF
    qemu = record_for(PciId(0x1AF4, device, 0x1AF4, subsystem))
    assert qemu is not IFCVF


def test_a_card_by_its_ids() -> None:
    nic = driver_for(FakeFunction(**N3000))
    assert (nic.driver, nic.queue_pairs) == ("ifcvf", 4)
    assert nic.can_stop_queue
    assert nic.can_restore_state
    assert nic.can_log_dirty
    assert nic.features & Feature.NET_MQ


# Where the states are: found by write and read-back

PAIRS = (0x20, 0x24, 0x28, 0x60, 0x64, 0xA0, 0xA4, 0xE0, 0xE4)
QUEUES = tuple(0x20 + 4 * queue for queue in range(8))


def test_states_by_pair() -> None:
    function, nic = opened(Decoding(*PAIRS))
    nic.start_queue(5, ring(7))
    assert nic.queue_pairs == 4
    assert function.vendor[0xA4] == 0x0007_0007


def test_states_by_queue_leave_no_place_for_active_pairs() -> None:
    function, nic = opened(Decoding(*QUEUES))
    nic.start_queue(1, ring(7))
    assert nic.queue_pairs == 1
    assert not nic.features & Feature.NET_MQ
    assert function.vendor[0x24] == 7
    assert not [w for w in function.writes() if w[0] == "bar4+0x28"]


def test_of_states_by_queue_the_guest_knows_the_used_index() -> None:
    """The available index alone would lose what was taken and not used."""
    function, nic = opened(Decoding(*QUEUES))
    nic.start_queue(1, ring(7))
    function.vendor[0x24] = 9
    assert nic.stop_queue(1) is None


def test_the_first_pair_alone() -> None:
    _, nic = opened(Decoding(0x20, 0x24, 0x28))
    assert (nic.queue_pairs, nic.can_restore_state) == (1, True)


def test_registers_that_are_the_first_pairs_again_are_not_a_second_pairs() -> None:
    _, nic = opened(Decoding(*PAIRS, mask=0x3F))
    assert nic.queue_pairs == 1


@pytest.mark.parametrize("offsets", [(), (0x20, 0x28)])
def test_registers_that_keep_nothing_are_not_used(offsets: tuple[int, ...], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        function, nic = opened(Decoding(*offsets))
    assert not nic.can_restore_state
    assert not nic.can_log_dirty
    assert nic.queue_pairs == 1
    assert "do not keep" in caplog.text
    nic.start_queue(0, ring())
    assert not [w for w in function.writes() if w[0].startswith("bar4")]
    with pytest.raises(Unsupported):
        nic.start_dirty_log(LOG)


def test_without_bar_4_there_is_one_pair_and_no_position() -> None:
    _, nic = opened(FakeFunction(**(N3000 | {"vendor_bar": False})))
    assert (nic.queue_pairs, nic.can_restore_state, nic.can_stop_queue) == (1, False, True)
    nic.start_queue(0, ring())
    assert nic.suspend() == {0: None}


def test_the_states_are_tried_after_the_reset_and_left_at_0() -> None:
    function = FakeFunction(**N3000)
    function.vendor[0x28] = 3
    VirtioPci(function, IFCVF, FAST)
    order = function.order()
    assert order.index("w device_status") < order.index("w bar4+0x20")
    assert {function.vendor[at] for at in (0x20, 0x24, 0x60, 0x64)} == {0}
    assert function.vendor[0x28] == 3


def test_a_card_that_goes_while_it_is_tried() -> None:
    function = FakeFunction(**N3000)
    VirtioPci(function, IFCVF, FAST)
    at = function.order().index("r bar4+0x20")
    with pytest.raises(DeviceGone):
        VirtioPci(FakeFunction(**N3000, gone_after=at), IFCVF, FAST)


# What they mean


def test_a_queue_goes_on_from_its_used_index() -> None:
    function, nic = opened()
    nic.start_queue(0, ring(5))
    function.vendor[0x20] = 7 << 16 | 9  # available 9, used 7: two are in flight
    assert nic.stop_queue(0) == QueueState(7)


def test_active_pairs() -> None:
    function, nic = opened()
    nic.set_active_pairs(3)
    assert function.writes() == [("bar4+0x28", 3)]


def test_two_feature_words_only() -> None:
    function = FakeFunction(**N3000)
    VirtioPci(function, IFCVF, FAST).negotiate(Feature.VERSION_1)
    assert {v for n, v in function.writes() if n == "device_feature_select"} == {0, 1}


# Stop


def test_a_queue_is_waited_for_before_its_state_is_read() -> None:
    function, nic = opened()
    nic.start_queue(0, ring())
    function.log.clear()
    nic.stop_queue(0)
    order = function.order()
    assert order.index("w queue_enable") < order.index("r queue_enable") < order.index("r bar4+0x20")
    assert function.queues[0].values["queue_msix_vector"] == NO_VECTOR


# Dirty log


def test_the_dirty_log_is_in_place_before_it_is_on() -> None:
    function, nic = opened()
    nic.start_dirty_log(LOG)
    assert function.writes() == [
        ("bar4+0x0", 0),
        ("bar4+0x10", 0x2345_6000),
        ("bar4+0x14", 1),
        ("bar4+0x18", 0x2345_8000),
        ("bar4+0x1c", 1),
        ("bar4+0x0", 1),
    ]
    function.log.clear()
    nic.stop_dirty_log()
    nic.stop_dirty_log()
    assert function.writes() == [("bar4+0x0", 0)]


def test_a_reset_ends_the_dirty_log_once_the_device_is_quiet() -> None:
    function, nic = opened()
    nic.start_dirty_log(LOG)
    function.log.clear()
    nic.reset()
    order = function.order()
    assert order[-1] == "w bar4+0x0"
    assert function.vendor[0] == 0
    assert order.index("w device_status") < order.index("r device_status") < order.index("w bar4+0x0")


def test_a_reset_that_never_ends_ends_the_dirty_log_too() -> None:
    function, nic = opened()
    nic.start_dirty_log(LOG)
    function.options.never_resets = True
    with pytest.raises(DeviceError):
        nic.reset()
    assert function.vendor[0] == 0


def test_a_dirty_log_that_does_not_start() -> None:
    _, nic = opened(Decoding(*PAIRS))
    with pytest.raises(DeviceError, match="does not start"):
        nic.start_dirty_log(LOG)


def test_the_dirty_log_needs_a_device_that_was_set_up() -> None:
    nic = VirtioPci(FakeFunction(**N3000), IFCVF, FAST)
    with pytest.raises(StateError):
        nic.start_dirty_log(LOG)


def test_others_keep_no_dirty_log() -> None:
    nic = VirtioPci(FakeFunction())
    nic.negotiate(Feature.VERSION_1)
    assert not nic.can_log_dirty
    nic.stop_dirty_log()
    with pytest.raises(Unsupported, match="no dirty log"):
        nic.start_dirty_log(LOG)


# On the software NIC, whose register model fails on every breach


@pytest.fixture
def rig() -> Iterator[Callable[[str], Rig]]:
    made: list[Rig] = []

    def make(text: str) -> Rig:
        made.append(Rig(text))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("options", "pairs", "restores"),
    [("", 1, True), (",queues=3", 3, True), (",queues=3,lm=queues", 1, True), (",queues=3,lm=none", 1, False)],
)
def test_the_whole_life_without_a_breach(rig: Callable[[str], Rig], options: str, pairs: int, restores: bool) -> None:
    one = rig(f"soft:model=ifcvf{options}")
    nic = one.nic
    assert (nic.driver, nic.queue_pairs, nic.can_restore_state) == ("ifcvf", pairs, restores)
    for _ in range(2):
        one.start()
        if pairs > 1:
            nic.set_active_pairs(pairs)
        for queue in range(2 * pairs):
            nic.kick(queue)
            nic.stop_queue(queue)
            nic.start_queue(queue, one.ring(queue, avail=9 if restores else 0))
        assert set(nic.suspend()) == set(range(2 * pairs))
    nic.close()
    assert one.function.diagnose() == ""


def test_positions_survive_queue_stop_and_suspend(rig: Callable[[str], Rig]) -> None:
    one = rig("soft:model=ifcvf,queues=2")
    one.nic.negotiate(GUEST)
    for queue in range(4):
        one.nic.start_queue(queue, one.ring(queue, avail=0xFFFE + queue & 0xFFFF))
    assert one.nic.stop_queue(0) == QueueState(0xFFFE)
    assert one.nic.suspend() == {1: QueueState(0xFFFF), 2: QueueState(0), 3: QueueState(1)}


def test_a_log_may_be_unmapped_after_a_reset(rig: Callable[[str], Rig]) -> None:
    """The device's own reset leaves it on: then the next frame would be a fault."""
    one = rig("soft:model=ifcvf,port=generate,poll=0")
    memory = Mapping.create(0x1000)
    one.function.dma.map(Iova(0x4000_0000), memory)
    one.nic.negotiate(GUEST)
    one.nic.start_dirty_log(IovaRange(0x4000_0000, 0x4000_0FFF))
    one.nic.reset()
    one.function.dma.unmap(Iova(0x4000_0000), 0x1000)
    memory.close()
    assert one.function.bar(4).read(0, 32) == 0
