"""Virtio's registers behind a BAR, through the driver's blocks."""

from __future__ import annotations

import pytest

from vfiodpa.errors import DriverBreach, VfiodpaError
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_pci import CommonCfg, DeviceStatus
from vfiodpa.vdpa.nic import Nic


def common_of(nic: Nic) -> CommonCfg:
    block = nic.regs.common
    assert isinstance(block, CommonCfg)
    return block


def test_status_follows_and_reset_clears_it(nic: Nic) -> None:
    common = common_of(nic)
    nic.device.reset()
    assert common.device_status == 0
    common.device_status = DeviceStatus.ACKNOWLEDGE
    common.device_status = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER
    assert common.device_status == DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER
    nic.device.reset()
    assert common.device_status == 0


def test_queues_have_sizes_and_the_one_after_the_last_has_none(nic: Nic) -> None:
    for queue in nic.queues:
        assert queue.size_max >= 2
    common = common_of(nic)
    common.queue_select = common.num_queues
    assert common.queue_size == 0


def test_64_bit_addresses_are_kept(nic: Nic) -> None:
    nic.device.negotiate(Feature.VERSION_1)
    common = common_of(nic)
    common.queue_select = 0
    common.queue_desc = 0x1_2345_6780
    assert common.queue_desc == 0x1_2345_6780
    nic.device.reset()


def test_modern_features(nic: Nic) -> None:
    assert nic.features.device & Feature.VERSION_1
    assert "version_1" in nic.features


def test_features_can_be_negotiated_again(nic: Nic) -> None:
    nic.device.negotiate(Feature.VERSION_1)
    first = nic.device.negotiated
    nic.device.reset()
    nic.device.negotiate(Feature.VERSION_1)
    assert nic.device.negotiated == first


def test_configuration_has_a_mac(nic: Nic) -> None:
    config = nic.config
    assert config.mac
    assert int(config.mac[:2], 16) & 1 == 0, "a NIC's own address is no group address"


def test_a_bar_that_is_not_there(nic: Nic) -> None:
    absent = [index for index in range(6) if not _has_bar(nic, index)]
    if not absent:
        pytest.skip("the function has all six BARs")
    with pytest.raises(VfiodpaError, match="BAR"):
        nic.function.bar(absent[0])


def test_accesses_past_the_end_are_refused(nic: Nic) -> None:
    bar = nic.function.bar(nic.queues[0].doorbell.bar)
    for offset, width in ((bar.length, 8), (bar.length, 32)):
        with pytest.raises((IndexError, DriverBreach)):
            bar.read(offset, width)


def _has_bar(nic: Nic, index: int) -> bool:
    try:
        return nic.function.bar(index).length > 0
    except VfiodpaError:
        return False
