from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.soft.soft_rig import Nic, Ring, S
from vfiodpa.soft.options import OFFERED, SoftOptions
from vfiodpa.spec.features import Feature, bits, closed, unmet
from vfiodpa.spec.pci import Command
from vfiodpa.spec.virtio_net import NetStatus
from vfiodpa.spec.virtio_pci import NO_VECTOR, CommonCfg

Make = Callable[[str], Nic]
one_nic = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
ADF = S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK


def test_offered_features_are_closed_and_beyond_them_is_zero(nic: Nic) -> None:
    assert nic.offered() == OFFERED & ~Feature.NET_MQ  # of one pair
    assert closed(nic.offered()) == nic.offered()
    for select in (3, 4, 31, 32, 0xFFFF_FFFF):
        nic.common.device_feature_select = select
        assert nic.common.device_feature == 0


@one_nic
@given(subset=st.sets(st.sampled_from(bits(SoftOptions().features & ~Feature.VERSION_1))))
def test_every_valid_subset_is_accepted(nic: Nic, subset: set[Feature]) -> None:
    features = closed(sum(subset) | Feature.VERSION_1)
    assert not unmet(features)
    assert nic.to_features_ok(int(features))


@one_nic
@given(words=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 0xFFFF_FFFF)), max_size=12))
def test_driver_feature_reads_back_what_was_written(nic: Nic, words: list[tuple[int, int]]) -> None:
    nic.to_driver()
    expected = [0, 0, 0, 0]
    for select, word in words:
        expected[select] = word & int(SoftOptions().features) >> 32 * select
        nic.common.driver_feature_select = select
        nic.common.driver_feature = expected[select]
    for select in (3, 0, 2, 1):
        nic.common.driver_feature_select = select
        assert nic.common.driver_feature == expected[select]


def test_features_ok_stays_unset_without_version_1(nic: Nic) -> None:
    assert not nic.to_features_ok(int(Feature.NET_MAC))
    assert nic.common.device_status == S.ACKNOWLEDGE | S.DRIVER
    assert "VERSION_1" in nic.f.diagnose()
    nic.common.device_status |= S.FAILED
    assert nic.to_features_ok()
    assert nic.f.diagnose() == ""


def test_features_ok_stays_unset_for_a_set_that_is_not_closed(nic: Nic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nic.f.device.state, "offered", OFFERED | Feature.NET_MQ)
    assert not nic.to_features_ok(int(Feature.VERSION_1 | Feature.NET_MQ))
    assert "NET_MQ needs NET_CTRL_VQ" in nic.f.diagnose()


def test_queues_that_are_not_there_have_size_zero(make_nic: Make) -> None:
    nic = make_nic("soft:queues=2,size=256")
    assert nic.common.num_queues == 5
    for queue, size in ((0, 256), (3, 256), (4, 64), (5, 0), (0xFFFF, 0)):
        nic.common.queue_select = queue
        assert nic.common.queue_size == size
    assert nic.common.queue_enable == 0
    assert nic.common.queue_msix_vector == NO_VECTOR


@one_nic
@given(values=st.lists(st.tuples(st.sampled_from([0x20, 0x28, 0x30]), st.booleans(), st.integers(0, 0xFFFF_FFFF))))
def test_halves_of_addresses_are_independent(nic: Nic, values: list[tuple[int, bool, int]]) -> None:
    nic.to_features_ok()
    expected = dict.fromkeys(range(0x20, 0x38, 4), 0)
    for offset, high, value in values:
        at = offset + 4 * high
        expected[at] = value
        nic.f.bar(0).write(at, 32, value)
    for at, value in expected.items():
        assert nic.f.bar(0).read(at, 32) == value


def test_there_is_no_admin_queue_and_no_notification_data(nic: Nic) -> None:
    assert (nic.common.admin_queue_index, nic.common.admin_queue_num, nic.common.queue_notif_config_data) == (0, 0, 0)


def test_reset_puts_everything_back(nic: Nic, eventfd: Callable[[], int]) -> None:
    fresh = nic.common.dump()
    nic.f.set_irq(1, eventfd())
    nic.bring_up()
    nic.common.config_msix_vector = 0
    for queue in (0, 1):
        nic.common.queue_select = queue
        nic.common.queue_msix_vector = 1
    nic.common.device_feature_select = 1
    nic.common.device_status = 0
    assert nic.common.device_status == 0
    assert nic.common.dump() == fresh
    nic.common.queue_select = 1
    assert (nic.common.queue_size, nic.common.queue_enable, nic.common.queue_msix_vector) == (1024, 0, NO_VECTOR)
    nic.bring_up()  # and it works again


def test_function_level_reset_also_clears_the_command_register(nic: Nic) -> None:
    nic.bring_up()
    nic.f.reset()
    assert nic.header.command == 0
    nic.header.command = Command.MEMORY | Command.BUS_MASTER
    assert nic.common.device_status == 0
    nic.bring_up()


def test_queue_reset_puts_one_queue_back(nic: Nic) -> None:
    nic.bring_up()
    nic.common.queue_select = 0
    nic.common.queue_reset = 1
    assert nic.common.queue_reset == 0
    assert (nic.common.queue_enable, nic.common.queue_size, nic.common.queue_desc) == (0, 1024, 0)
    nic.common.queue_select = 1
    assert nic.common.queue_enable == 1
    nic.enable(0, size=16)
    assert (nic.common.queue_enable, nic.common.queue_reset, nic.common.queue_size) == (1, 0, 16)


def test_ring_reset_can_be_left_out(make_nic: Make) -> None:
    assert not make_nic("soft:reset=off").offered() & Feature.RING_RESET


def test_net_configuration(make_nic: Make) -> None:
    nic = make_nic("soft:mac=52:54:00:00:00:07,mtu=9000")
    assert bytes(nic.net.mac) == bytes.fromhex("525400000007")
    assert nic.net.status == NetStatus.LINK_UP
    assert nic.net.mtu == 9000


def test_configuration_is_readable_before_features_ok_and_does_not_change_by_it(nic: Nic) -> None:
    before = (list(nic.net.mac), nic.net.status, nic.net.mtu)
    nic.to_features_ok()
    assert (list(nic.net.mac), nic.net.status, nic.net.mtu) == before


def test_changes_have_a_new_generation(nic: Nic) -> None:
    first = nic.common.config_generation
    nic.f.set_link(up=False)
    assert nic.net.status == 0
    second = nic.common.config_generation
    nic.f.set_mtu(1400)
    assert nic.net.mtu == 1400
    assert len({first, second, nic.common.config_generation}) == 3


def test_generation_wraps_within_its_register(nic: Nic) -> None:
    for _ in range(257):
        nic.f.set_link(up=True)
    assert nic.common.config_generation == 1


def test_registers_are_spelled_as_the_specification_does(nic: Nic) -> None:
    assert set(nic.common.dump()) == {register.name for register in CommonCfg.registers()}


def test_nothing_is_consumed_before_driver_ok(nic: Nic) -> None:
    nic.to_features_ok()
    nic.enable(1)
    tx = Ring(nic, 1)
    tx.offer(bytes(72))
    assert not tx.wait_used(1, seconds=0.05)
    nic.common.device_status |= S.DRIVER_OK
    nic.bell(1)
    assert tx.wait_used(1)


def test_without_bus_master_the_device_stands_still(nic: Nic) -> None:
    nic.bring_up()
    nic.header.command = Command.MEMORY
    tx = Ring(nic, 1)
    tx.offer(bytes(72))
    nic.bell(1)
    assert not tx.wait_used(1, seconds=0.05)
    nic.header.command = Command.MEMORY | Command.BUS_MASTER
    assert tx.wait_used(1)


def test_echo_through_registers_only(nic: Nic) -> None:
    nic.bring_up()
    rx, tx = Ring(nic, 0), Ring(nic, 1)
    frame = bytes(range(64))
    rx.offer(bytes(256), writable=True)
    tx.offer(bytes(12) + frame)
    nic.bell(0)
    nic.bell(1)
    assert rx.wait_used(1)
    assert rx.buffer(0, 76)[12:] == frame


def test_reset_in_traffic_stops_it(nic: Nic) -> None:
    nic.bring_up()
    tx = Ring(nic, 1)
    nic.common.device_status = 0
    assert nic.common.device_status == 0
    tx.offer(bytes(72))
    assert not tx.wait_used(1, seconds=0.05)


def test_ring_errors_show_as_needs_reset(nic: Nic) -> None:
    nic.bring_up()
    tx = Ring(nic, 1)
    tx.offer(bytes(72), next_of=0)  # a loop
    nic.bell(1)
    assert nic.wait_needs_reset()
    assert nic.common.device_status == ADF | S.DRIVER_OK | S.NEEDS_RESET
    assert nic.f.diagnose().startswith("queue 1: descriptor chain loops (head 0)")
    nic.common.device_status = 0
    assert nic.common.device_status == 0
    assert nic.f.diagnose() == ""
