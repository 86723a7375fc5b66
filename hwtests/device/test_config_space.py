"""Configuration space of a function: what its registers say, at each width."""

from __future__ import annotations

from vfiodpa.pci.capabilities import capabilities
from vfiodpa.pci.function import PciFunction
from vfiodpa.spec.pci import CapId, Command, ConfigHeader

VIRTIO_VENDOR = 0x1AF4


def test_ids_at_each_width(function: PciFunction) -> None:
    header = ConfigHeader(function.config)
    word = function.config.read(0, 32)
    assert word == header.vendor_id | header.device_id << 16
    assert word.to_bytes(4, "little") == bytes(function.config.read(i, 8) for i in range(4))
    assert header.vendor_id not in (0, 0xFFFF)


def test_capability_list_ends_and_names_virtio_and_msix(function: PciFunction) -> None:
    ids = [kind for _, kind in capabilities(function.config)]
    assert CapId.MSIX in ids
    assert CapId.VENDOR in ids


def test_bus_master_can_be_switched(function: PciFunction) -> None:
    header = ConfigHeader(function.config)
    header.command = Command.MEMORY | Command.BUS_MASTER
    assert header.command & Command.BUS_MASTER
    header.command = Command.MEMORY
    assert not header.command & Command.BUS_MASTER


def test_read_only_registers_keep_their_value(function: PciFunction) -> None:
    before = function.config.read(0, 32)
    function.config.write(0, 16, before & 0xFFFF ^ 0x5A5A)
    assert function.config.read(0, 32) == before
