"""The driver is chosen by the most specific ids, or by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drivers.fake_function import FakeFunction
from vfiodpa.drivers import registry
from vfiodpa.drivers.quirks import PciId, Quirks
from vfiodpa.drivers.registry import driver_for, drivers, record_for, register
from vfiodpa.errors import DeviceError, DeviceGone, Unsupported, UsageError


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = drivers()
    yield
    registry._records.clear()
    registry._records.update(before)


def test_a_plain_network_device_gets_the_generic_driver() -> None:
    assert driver_for(FakeFunction()).driver == "virtio_pci"


def test_the_most_specific_pattern_wins() -> None:
    ids = PciId(0x1AF4, 0x1041, 0x8086, 0x0077)
    register(Quirks("vendor", (PciId(0x1AF4, 0x1041, 0x8086),)))
    register(Quirks("model", (PciId(0x1AF4, 0x1041, 0x8086, 0x0077),)))
    found = record_for(ids)
    assert found is not None
    assert found.name == "model"
    assert driver_for(FakeFunction(subsystem_vendor=0x8086, subsystem=1)).driver == "vendor"


def test_an_unknown_device_is_refused_with_the_way_out() -> None:
    with pytest.raises(Unsupported, match=r"1234:5678.*try: driver=virtio_pci"):
        driver_for(FakeFunction(vendor=0x1234, device=0x5678))


def test_a_name_overrides_the_ids() -> None:
    assert driver_for(FakeFunction(vendor=0x1234, device=0x5678), "virtio_pci").driver == "virtio_pci"
    with pytest.raises(DeviceError, match="BAR 2"):  # the software NIC's record on something else
        driver_for(FakeFunction(), "softnic")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="ifcvf, softnic, virtio_pci"):
        driver_for(FakeFunction(), "nosuch")


def test_a_device_that_is_gone_is_not_called_unknown() -> None:
    with pytest.raises(DeviceGone):
        driver_for(FakeFunction(gone_after=0))


def test_names_and_patterns_are_taken_once() -> None:
    with pytest.raises(UsageError, match="already"):
        register(Quirks("virtio_pci", ()))
    with pytest.raises(UsageError, match="both claim 1af4:1041"):
        register(Quirks("other", (PciId(0x1AF4, 0x1041),)))
