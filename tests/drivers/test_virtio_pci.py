"""The generic driver against the fake: what it programs, in which order, and what it returns."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.drivers.fake_function import BASIC, MAC, NOTIFY, FakeFunction
from vfiodpa.drivers.device import DoorbellAddress, QueueSetup, QueueState
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.drivers.waiting import Deadlines
from vfiodpa.errors import StateError, Unsupported, UsageError
from vfiodpa.memory import Iova
from vfiodpa.spec.features import Feature
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.virtio_pci import DeviceStatus as S

FAST = Deadlines(reset=0.4, queue_stop=0.4)
GUEST = Feature.VERSION_1 | Feature.NET_MAC


def ring(size: int = 256, avail: int = 0) -> QueueSetup:
    return QueueSetup(size, Iova(0x1_0000_1000), Iova(0x2_0000_2000), Iova(0x3_0000_3000), QueueState(avail))


def opened(**options: object) -> tuple[FakeFunction, VirtioPci]:
    function = FakeFunction(**options)
    return function, VirtioPci(function, deadlines=FAST)


@pytest.fixture
def ready() -> Iterator[tuple[FakeFunction, VirtioPci]]:
    """Negotiated, with an empty log."""
    function, nic = opened(features=int(BASIC | Feature.RING_RESET | Feature.ACCESS_PLATFORM | Feature.ORDER_PLATFORM))
    nic.negotiate(GUEST)
    function.log.clear()
    yield function, nic


# Opening and negotiation (3.1.1)


def test_steps_one_to_six_come_in_order() -> None:
    function, nic = opened()
    function.log.clear()
    nic.negotiate(GUEST)
    status = [value for name, value in function.writes() if name == "device_status"]
    assert status == [0, 1, 1 | 2, 1 | 2 | 8]
    order = function.order()
    features_ok = max(i for i, entry in enumerate(order) if entry == "w device_status")
    assert max(i for i, entry in enumerate(order) if entry == "r device_feature") < order.index("w driver_feature")
    assert max(i for i, entry in enumerate(order) if entry == "w driver_feature") < features_ok
    assert order[features_ok + 1] == "r device_status"  # step 6: read again at once
    assert order.index("w config_msix_vector") > features_ok


def test_the_reset_is_awaited_before_acknowledge() -> None:
    function, nic = opened(reset_polls=5)
    function.log.clear()
    nic.negotiate(GUEST)
    order = function.order()
    first = order.index("w device_status")
    assert order[first + 1 : first + 7] == ["r device_status"] * 6


def test_all_four_feature_words_are_read() -> None:
    function, nic = opened(features=int(BASIC) | 1 << 70 | 1 << 100)
    assert nic.device_features == int(BASIC) | 1 << 70 | 1 << 100
    assert [v for n, v in function.writes() if n == "device_feature_select"] == [0, 1, 2, 3]


def test_features_above_64_are_written() -> None:
    high = Feature.NET_OUT_NET_HEADER
    function, nic = opened(features=int(BASIC | high))
    assert nic.features == BASIC  # a guest's header has no such field
    nic.commanded = high
    nic.negotiate(GUEST)
    assert function.features_written[2] == 1 << 5


def test_driver_ok_is_set_by_start_only(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    assert nic.status == S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK
    nic.start()
    assert nic.status & S.DRIVER_OK


def test_needs_reset_shows_in_the_status(ready: tuple[FakeFunction, VirtioPci]) -> None:
    function, nic = ready
    function.values["device_status"] |= S.NEEDS_RESET
    assert nic.status & S.NEEDS_RESET


def test_memory_is_on_and_dma_waits_for_the_first_reset() -> None:
    function = FakeFunction()
    seen: list[int] = []
    store = function._store_device_status

    def spy(value: int) -> None:
        seen.append(ConfigHeader(function.config).command & Command.BUS_MASTER)
        store(value)

    function._store_device_status = spy  # type: ignore[method-assign]
    VirtioPci(function, deadlines=FAST)
    assert seen[0] == 0
    assert ConfigHeader(function.config).command == Command.MEMORY | Command.BUS_MASTER


def test_close_resets_and_takes_dma_and_interrupts_away() -> None:
    function, nic = opened()
    fd = os.eventfd(0)
    nic.set_queue_irq(0, fd)
    os.close(fd)
    nic.close()
    assert function.values["device_status"] == 0
    assert function.irqs == {1: None}
    assert not ConfigHeader(function.config).command & Command.BUS_MASTER


# Features


def test_the_drivers_own_bits_are_added(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    assert nic.negotiated == GUEST | Feature.RING_RESET | Feature.ACCESS_PLATFORM | Feature.ORDER_PLATFORM


def test_a_guest_is_offered_no_transport_and_no_control_queue() -> None:
    hidden = (
        Feature.ACCESS_PLATFORM
        | Feature.NOTIFICATION_DATA
        | Feature.NOTIF_CONFIG_DATA
        | Feature.NET_CTRL_VQ
        | Feature.NET_CTRL_RX
        | Feature.NET_MQ
    )
    _, nic = opened(features=int(BASIC | hidden) | 1 << 26 | 1 << 30 | 1 << 58)
    assert nic.features == BASIC


def test_front_end_bits_are_not_asked_of_the_device() -> None:
    _, nic = opened()
    nic.negotiate(GUEST | Feature.NET_GUEST_ANNOUNCE | Feature.VHOST_PROTOCOL_FEATURES)
    assert nic.negotiated == GUEST


def test_a_feature_that_was_not_offered_is_refused_by_name() -> None:
    _, nic = opened()
    with pytest.raises(UsageError, match="NET_HOST_TSO4"):
        nic.negotiate(GUEST | Feature.NET_HOST_TSO4)
    assert nic.negotiated == 0


def test_version_1_is_required() -> None:
    _, nic = opened()
    with pytest.raises(UsageError, match="VERSION_1"):
        nic.negotiate(Feature.NET_MAC)


def test_queue_reset_is_not_used_without_its_register() -> None:
    _, nic = opened(features=int(BASIC | Feature.RING_RESET), common_length=0x38)
    assert not nic.can_stop_queue
    assert not nic.features & Feature.RING_RESET


# Configuration


def test_only_offered_fields_are_read() -> None:
    _, nic = opened()
    assert nic.read_config() == {"mac": list(MAC), "status": 1}


def test_a_field_that_is_not_offered_is_not_there() -> None:
    _, nic = opened()
    assert nic.config.status == 1
    with pytest.raises(StateError, match="no mtu: the device does not offer NET_MTU"):
        _ = nic.config.mtu


def test_the_configuration_is_read_again_when_it_changed() -> None:
    function, nic = opened()
    function.options.generation_moves = 2
    function.log.clear()
    assert nic.read_config()["mac"] == list(MAC)
    assert function.order().count("r config_generation") == 4


# Queues (4.1.5.1.3)


def test_a_queue_is_programmed_in_order_and_enabled_last(ready: tuple[FakeFunction, VirtioPci]) -> None:
    function, nic = ready
    nic.start_queue(1, ring())
    assert function.order() == [
        "w queue_select",
        "r queue_size",
        "w queue_size",
        "w queue_msix_vector",
        "r queue_msix_vector",
        "w queue_desc",
        "w queue_desc_high",
        "w queue_driver",
        "w queue_driver_high",
        "w queue_device",
        "w queue_device_high",
        "w queue_enable",
    ]
    assert dict(function.writes()) == {
        "queue_select": 1,
        "queue_size": 256,
        "queue_msix_vector": 2,
        "queue_desc": 0x1000,
        "queue_desc_high": 1,
        "queue_driver": 0x2000,
        "queue_driver_high": 2,
        "queue_device": 0x3000,
        "queue_device_high": 3,
        "queue_enable": 1,
    }


@pytest.mark.parametrize("size", [0, 3, 65535, 512])
def test_a_bad_size_is_refused(ready: tuple[FakeFunction, VirtioPci], size: int) -> None:
    function, nic = ready
    with pytest.raises(UsageError, match="entries"):
        nic.start_queue(0, ring(size))
    assert function.writes() == []


def test_an_unaligned_ring_is_refused(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    with pytest.raises(UsageError, match="aligned"):
        nic.start_queue(0, QueueSetup(256, Iova(0x1008), Iova(0x2000), Iova(0x3000)))


def test_a_queue_that_is_not_there(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    assert [nic.queue_size_max(q) for q in (0, 1, 2, -1)] == [256, 256, 0, 0]
    with pytest.raises(UsageError, match="no queue 2"):
        nic.start_queue(2, ring())


def test_a_queue_needs_features_and_starts_once() -> None:
    _, nic = opened()
    with pytest.raises(StateError, match="negotiated"):
        nic.start_queue(0, ring())
    nic.negotiate(GUEST)
    nic.start_queue(0, ring())
    with pytest.raises(StateError, match="runs already"):
        nic.start_queue(0, ring())


def test_a_position_needs_ring_state_registers(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    with pytest.raises(Unsupported, match="ring-state"):
        nic.start_queue(0, ring(avail=5))
    assert not nic.can_restore_state


def test_queue_reset_stops_one_queue(ready: tuple[FakeFunction, VirtioPci]) -> None:
    function, nic = ready
    nic.start_queue(0, ring())
    nic.start_queue(1, ring())
    function.log.clear()
    assert nic.stop_queue(1) is None
    assert function.writes() == [("queue_select", 1), ("queue_reset", 1)]
    assert function.order()[-2:] == ["r queue_reset", "r queue_enable"]
    assert function.queues[0].values["queue_enable"] == 1
    nic.start_queue(1, ring())  # it can be started again


def test_without_queue_reset_only_the_whole_device_stops() -> None:
    _, nic = opened()
    nic.negotiate(GUEST)
    nic.start_queue(0, ring())
    assert not nic.can_stop_queue
    with pytest.raises(Unsupported, match="RING_RESET"):
        nic.stop_queue(0)
    assert nic.suspend() == {0: None}


def test_a_queue_that_does_not_run_cannot_stop(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    with pytest.raises(StateError, match="does not run"):
        nic.stop_queue(0)


def test_a_reset_forgets_queues_and_features(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    nic.start_queue(0, ring())
    nic.reset()
    assert nic.negotiated == 0
    with pytest.raises(StateError):
        nic.start_queue(0, ring())


def test_one_pair_without_a_vendors_register_and_a_control_queue() -> None:
    _, nic = opened(features=int(BASIC | Feature.NET_MQ), pairs=4, num_queues=9, vectors=9)
    assert nic.queue_pairs == 1
    nic.set_active_pairs(1)
    with pytest.raises(UsageError):
        nic.set_active_pairs(2)


# Doorbells


def test_the_doorbell_is_where_the_specification_says(ready: tuple[FakeFunction, VirtioPci]) -> None:
    function, nic = ready
    assert nic.doorbell_address(1) == DoorbellAddress(bar=0, offset=NOTIFY + 4, width=16, value=1)
    nic.kick(1)
    assert [(a.op, a.register, a.width, a.value) for a in function.log] == [("w", "notify+0x4", 16, 1)]
    assert nic.doorbell(1).native == (0, NOTIFY + 4, 16, 1)


def test_multiplier_0_means_one_doorbell_for_all() -> None:
    _, nic = opened(multiplier=0)
    assert nic.doorbell_address(0).offset == nic.doorbell_address(1).offset == NOTIFY


# Other


def test_counters(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    nic.start_queue(0, ring())
    nic.kick(0)
    nic.stop_queue(0)
    stats = nic.stats()
    assert (stats["resets"], stats["queue_starts"], stats["queue_stops"], stats["kicks"]) == (2, 1, 1, 1)


def test_announce_needs_a_vendor(ready: tuple[FakeFunction, VirtioPci]) -> None:
    _, nic = ready
    assert not nic.can_announce
    with pytest.raises(Unsupported, match="RARP"):
        nic.announce(MAC)
    with pytest.raises(UsageError, match="6 bytes"):
        nic.announce(MAC[:5])
