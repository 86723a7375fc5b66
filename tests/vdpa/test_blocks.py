"""Register blocks of a device that is looked at and not touched."""

from __future__ import annotations

import pytest

from tests.drivers.fake_function import FakeFunction
from vfiodpa.soft.function import SoftFunction
from vfiodpa.vdpa.blocks import blocks_of

IFCVF = {"subsystem_vendor": 0x8086, "subsystem": 0x001A, "vendor_bar": True}


@pytest.mark.parametrize("options", [{}, IFCVF], ids=["virtio_pci", "ifcvf"])
def test_a_look_writes_nothing_but_a_selector_and_puts_it_back(options: dict[str, int]) -> None:
    """The device may be at work for somebody else."""
    function = FakeFunction(**options)
    function.values["device_feature_select"] = 1
    blocks_of(function)
    assert {name for name, _ in function.writes()} == {"device_feature_select"}
    assert function.writes()[-1] == ("device_feature_select", 1)


@pytest.mark.parametrize(
    ("device", "vendor"), [("soft", {"vendor"}), ("soft:model=ifcvf", {"lm"}), ("soft:model=ifcvf,lm=none", set())]
)
def test_the_vendors_blocks_that_this_card_has(device: str, vendor: set[str]) -> None:
    with SoftFunction(device) as function:
        assert set(blocks_of(function)) == {"pci", "common", "isr", "net"} | vendor
