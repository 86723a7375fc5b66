"""From a DEVICE string to a device."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vdpa.fake_device import FakeDomain
from vfiodpa.errors import NoDevice, UsageError, VfiodpaError
from vfiodpa.memory import Iova, Mapping
from vfiodpa.soft.domain import SoftDomain
from vfiodpa.vdpa.devices import open_device, open_function, open_nic


def open_fds() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_software_nic_gets_its_driver() -> None:
    with open_nic("soft:queues=2") as nic:
        assert (nic.device.driver, nic.device.queue_pairs) == ("softnic", 2)


def test_its_plain_model_gets_the_generic_driver() -> None:
    with open_nic("soft:model=plain") as nic:
        assert nic.device.driver == "virtio_pci"
        assert not nic.device.can_restore_state


def test_a_driver_by_name() -> None:
    with open_nic("soft", driver="virtio_pci") as nic:
        assert nic.device.driver == "virtio_pci"


@pytest.mark.parametrize("address", ["0000:ff:1f.7", "ff:1f.7", "0000:FF:1f.7"])
def test_pci_addresses_are_taken_in_every_spelling(address: str) -> None:
    with pytest.raises(NoDevice, match=r"0000:ff:1f\.7: there is no such PCI function"):
        open_function(address)


@pytest.mark.parametrize("text", ["", "eth0", "3b:00.8", "0000:3b:00", "x3b:00.0", "3b:00.0x", "softer", "soft0"])
def test_anything_else_is_no_device(text: str) -> None:
    with pytest.raises(UsageError, match="is no device"):
        open_function(text)


@pytest.mark.parametrize(
    ("device", "driver"), [("soft:port=no", None), ("soft", "acme"), ("soft:model=plain", "softnic")]
)
def test_what_cannot_be_opened_leaves_nothing_behind(device: str, driver: str | None) -> None:
    with open_nic("soft"):
        pass  # what is made once per process
    before = open_fds()
    with pytest.raises(VfiodpaError):
        open_device(device, driver=driver)
    assert open_fds() == before


def test_two_devices_of_one_guest_share_its_address_space() -> None:
    domain = SoftDomain()
    with open_nic("soft", dma=domain) as one, open_nic("soft", dma=domain) as other, Mapping.create(0x1000) as memory:
        assert one.function.dma is other.function.dma
        domain.map(Iova(0x1000), memory)
        domain.unmap(Iova(0x1000), 0x1000)
    domain.close()


def test_a_foreign_address_space_is_refused() -> None:
    with pytest.raises(UsageError, match="software NICs only"):
        open_function("soft", dma=FakeDomain([]))
