"""Vendor records: ring positions, active pairs, stop by queue_enable, hidden features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.drivers.fake_function import BASIC, MAC, VENDOR_BAR, FakeFunction
from vfiodpa.drivers.device import QueueSetup, QueueState
from vfiodpa.drivers.quirks import GENERIC, PciId, Quirks, ReadPoint, RingState, VendorRegister
from vfiodpa.drivers.softnic import SOFTNIC
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.drivers.waiting import Deadlines
from vfiodpa.errors import DeviceError, DeviceGone, DeviceTimeout, Unsupported, UsageError
from vfiodpa.memory import Iova
from vfiodpa.pci.function import PciFunction
from vfiodpa.spec.features import Feature
from vfiodpa.spec.softnic import MAGIC, VendorCfg

FAST = Deadlines(reset=0.4, queue_stop=0.4)

# As one vendor lays them out: both positions in one register, available low and used high; the queue
# goes on from the used one. They are lost in a reset.
RULE = RingState(
    where=lambda queue: VendorRegister(VENDOR_BAR, 0x20 + queue // 2 * 0x40 + queue % 2 * 4, 32),
    encode=lambda state: state.avail | state.avail << 16,
    decode=lambda value: QueueState(value >> 16),
)
PAIRS = VendorRegister(VENDOR_BAR, 0x28, 32)
VENDOR = Quirks("vendor", GENERIC.ids, ring_state=RULE, active_pairs=PAIRS, stop_by_enable=True)
MULTI: dict[str, Any] = {
    "features": int(BASIC | Feature.NET_MQ | Feature.NET_CTRL_VQ),
    "pairs": 4,
    "num_queues": 9,
    "vectors": 9,
}


def ring(avail: int = 0) -> QueueSetup:
    return QueueSetup(256, Iova(0x1000), Iova(0x2000), Iova(0x3000), QueueState(avail))


def opened(quirks: Quirks = VENDOR, **options: Any) -> tuple[FakeFunction, VirtioPci]:
    function = FakeFunction(vendor_bar=True, **options)
    nic = VirtioPci(function, quirks, FAST)
    nic.negotiate(Feature.VERSION_1)
    return function, nic


def test_the_position_is_written_before_the_queue_is_enabled() -> None:
    function, nic = opened()
    nic.start_queue(1, ring(0x1234))
    assert nic.can_restore_state
    order = function.order()
    assert function.vendor[0x24] == 0x1234_1234
    assert order.index("w bar4+0x24") < order.index("w queue_enable")
    assert order.index("w queue_device_high") < order.index("w bar4+0x24")


def test_position_0_is_written_only_where_the_record_says_so() -> None:
    for always in (True, False):
        function, nic = opened(replace(VENDOR, ring_state=replace(RULE, always=always)))
        nic.start_queue(0, ring())
        assert ("w bar4+0x20" in function.order()) is always


def test_stop_by_enable_returns_the_position_by_the_index_rule() -> None:
    function, nic = opened()
    nic.start_queue(0, ring())
    function.vendor[0x20] = 0x0007_0009
    assert nic.can_stop_queue
    assert nic.stop_queue(0) == QueueState(7)
    assert function.queues[0].values["queue_enable"] == 0


def test_suspend_reads_positions_before_a_reset_that_clears_them() -> None:
    function, nic = opened()
    nic.start_queue(0, ring())
    nic.start_queue(1, ring())
    function.vendor.update({0x20: 3 << 16, 0x24: 4 << 16})
    function.log.clear()
    assert nic.suspend() == {0: QueueState(3), 1: QueueState(4)}
    order = function.order()
    assert order.index("r bar4+0x24") < order.index("w device_status")


def test_suspend_reads_positions_after_the_reset_where_the_record_says_so() -> None:
    after = replace(VENDOR, ring_state=replace(RULE, read_at=ReadPoint.AFTER_RESET), stop_by_enable=False)
    function, nic = opened(after)
    nic.start_queue(0, ring())
    function.vendor[0x20] = 5 << 16
    function.log.clear()
    assert nic.suspend() == {0: QueueState(5)}
    order = function.order()
    assert order.index("w device_status") < order.index("r bar4+0x20")
    assert nic.negotiated == 0


def test_suspend_resets_even_when_a_queue_does_not_stop() -> None:
    ring_reset = replace(VENDOR, stop_by_enable=False)
    function, nic = opened(ring_reset, features=int(BASIC | Feature.RING_RESET), queue_reset_ends=False)
    nic.start_queue(0, ring())
    with pytest.raises(DeviceTimeout, match="stop of queue 0"):
        nic.suspend()
    assert function.values["device_status"] == 0


def test_positions_that_a_reset_clears_need_a_way_to_stop_a_queue() -> None:
    _, nic = opened(replace(VENDOR, stop_by_enable=False))
    nic.start_queue(0, ring())
    assert nic.suspend() == {0: None}


def test_positions_of_packed_rings_are_not_kept() -> None:
    function, nic = opened(features=int(BASIC | Feature.RING_PACKED))
    nic.negotiate(Feature.VERSION_1 | Feature.RING_PACKED)
    nic.start_queue(0, ring())
    with pytest.raises(Unsupported, match="packed"):
        nic.start_queue(1, ring(1))
    assert nic.stop_queue(0) is None
    assert "w bar4+0x20" not in function.order()


def test_positions_of_packed_rings_are_not_read_after_a_reset() -> None:
    after = replace(VENDOR, ring_state=replace(RULE, read_at=ReadPoint.AFTER_RESET))
    _, nic = opened(after, features=int(BASIC | Feature.RING_PACKED))
    nic.negotiate(Feature.VERSION_1 | Feature.RING_PACKED)
    nic.start_queue(0, ring())
    assert nic.suspend() == {0: None}


def test_multiqueue_with_a_vendors_register() -> None:
    function, nic = opened(**MULTI)
    assert (nic.queue_pairs, bool(nic.features & Feature.NET_MQ)) == (4, True)
    assert function.vendor[0x28] == 1  # after negotiation, until more are asked for
    nic.set_active_pairs(3)
    assert function.vendor[0x28] == 3
    for pairs in (0, 5):
        with pytest.raises(UsageError):
            nic.set_active_pairs(pairs)


def test_multiqueue_is_in_force_but_not_asked_of_the_device() -> None:
    function, nic = opened(**MULTI)
    nic.negotiate(Feature.VERSION_1 | Feature.NET_MQ)
    assert nic.negotiated == Feature.VERSION_1 | Feature.NET_MQ
    assert function.features_written == [0, 1, 0, 0]


@pytest.mark.parametrize(("limits", "pairs"), [({"vectors": 2}, 4), ({"num_queues": 6}, 3), ({"vectors": 0}, 4)])
def test_pairs_are_limited_by_queues_and_not_by_vectors(limits: dict[str, int], pairs: int) -> None:
    _, nic = opened(**(MULTI | limits))
    assert nic.queue_pairs == pairs


def test_pairs_are_limited_by_the_record() -> None:
    _, nic = opened(replace(VENDOR, max_pairs=2), **MULTI)
    assert nic.queue_pairs == 2


def test_hidden_features_are_not_offered_but_shown() -> None:
    _, nic = opened(replace(VENDOR, hidden=Feature.NET_MRG_RXBUF))
    assert not nic.features & Feature.NET_MRG_RXBUF
    assert nic.device_features & Feature.NET_MRG_RXBUF


def test_a_device_with_two_feature_words_is_not_asked_for_more() -> None:
    function, _ = opened(replace(VENDOR, feature_words=2))
    assert {v for n, v in function.writes() if n == "device_feature_select"} == {0, 1}


def test_a_record_can_adapt_to_a_device_that_lacks_a_part() -> None:
    def without_state(quirks: Quirks, function: PciFunction) -> Quirks:
        assert function.name == "fake0"
        return replace(quirks, ring_state=None)

    _, nic = opened(replace(VENDOR, adapt=without_state))
    assert not nic.can_restore_state


def test_a_wider_doorbell() -> None:
    function, nic = opened(replace(VENDOR, doorbell_width=32))
    nic.kick(1)
    assert function.log[-1].width == 32


def test_announce_goes_to_the_vendor() -> None:
    sent: list[bytes] = []
    _, nic = opened(replace(VENDOR, announce=lambda _, mac: sent.append(mac)))
    assert nic.can_announce
    nic.announce(MAC)
    assert sent == [MAC]


def test_the_software_nics_record_writes_the_mac_last_part_last() -> None:
    function = FakeFunction(vendor_bar=True)
    function.vendor[VendorCfg.magic.offset] = MAGIC
    nic = VirtioPci(function, replace(SOFTNIC, ids=GENERIC.ids), FAST)
    function.log.clear()
    nic.announce(bytes.fromhex("010203040506"))
    assert function.writes() == [("bar2+0x8", 0x04030201), ("bar2+0xc", 0x0605)]


def test_the_software_nics_record_looks_for_its_magic_number() -> None:
    with pytest.raises(DeviceError, match="0x00000000 instead of 0x5d1c0001"):
        VirtioPci(FakeFunction(vendor_bar=True), replace(SOFTNIC, ids=GENERIC.ids), FAST)


def test_ones_in_a_vendor_register_of_a_lost_device() -> None:
    function, nic = opened(
        replace(VENDOR, stop_by_enable=False, ring_state=replace(RULE, read_at=ReadPoint.AFTER_RESET))
    )
    nic.start_queue(0, ring())
    function.options.gone_after = function.accesses + 5
    with pytest.raises(DeviceGone):
        nic.suspend()


def test_id_patterns() -> None:
    ids = PciId(0x1AF4, 0x1041, 0x8086, 0x1A)
    assert PciId(0x1AF4, 0x1041).matches(ids)
    assert PciId(0x1AF4, 0x1041, 0x8086).matches(ids)
    assert not PciId(0x1AF4, 0x1041, 0x8086, 0x1B).matches(ids)
    assert not PciId(0x1AF4, 0x1000).matches(ids)
    assert str(PciId(0x1AF4, 0x1041, 0x8086)) == "1af4:1041:8086:*"
