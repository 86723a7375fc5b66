"""What a machine uses its functions for."""

from __future__ import annotations

import pytest

from tests.pci.fake_host import DISK, NIC, FakeHost
from vfiodpa.pci.device import PciDevice
from vfiodpa.pci.usage import in_use


def reasons(host: FakeHost, address: str = NIC) -> list[str]:
    return in_use(host, PciDevice.read(host, address))


def test_nothing(host: FakeHost) -> None:
    host.add(interface="eth0")
    host.interface("eth1")
    host.default_route("eth1")
    assert reasons(host) == []


@pytest.mark.parametrize(("upper", "lower"), [("eth0", ()), ("br0", ("eth0",)), ("vlan7", ("bond0",))])
def test_default_route_also_through_bridges_bonds_and_vlans(host: FakeHost, upper: str, lower: tuple[str, ...]) -> None:
    host.add(interface="eth0")
    host.interface("bond0", "eth0")
    host.interface(upper, *lower)
    host.default_route(upper)
    assert reasons(host) == ["carries the default route (" + upper + ")"]


@pytest.mark.parametrize(("flags", "live"), [("00000003", True), ("00200200", False), ("00000201", False)])
def test_default_route_of_ipv6(host: FakeHost, flags: str, live: bool) -> None:
    host.add(interface="eth0")
    zero = "0" * 32
    words = [zero, "00", zero, "00", "fd" + "0" * 29 + "1", "00000400", "00000002", "00000000", flags, "eth0"]
    (host.proc / "net/ipv6_route").write_text(" ".join(words) + "\n")
    assert bool(reasons(host)) is live


def test_a_route_to_one_network_is_no_default_route(host: FakeHost) -> None:
    host.add(interface="eth0")
    line = "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0"
    unset = "eth0 00000000 00000000 0001 0 0 0 000000FF 0 0 0"
    (host.proc / "net/route").write_text(f"{line}\n{unset}\n")
    assert reasons(host) == []


def test_a_mounted_disk_by_device_number(host: FakeHost) -> None:
    host.add(DISK, class_code=0x010000)
    host.block(DISK, "vda1", "254:1")
    host.mount("254:1", "/", "ext4", "/dev/root")
    assert reasons(host, DISK) == ["holds / (vda1)"]


def test_a_mounted_disk_under_a_mapping(host: FakeHost) -> None:
    host.add(DISK, class_code=0x010000)
    host.block(DISK, "vda", "254:0", "dm-0")
    host.block("", "dm-0", "253:0")
    host.mount("253:0", "/home", "ext4", "/dev/mapper/home")
    assert reasons(host, DISK) == ["holds /home (dm-0)"]


def test_a_disk_of_another_function_does_not_matter(host: FakeHost) -> None:
    host.add(NIC)
    host.add(DISK, class_code=0x010000)
    host.block(DISK, "vda", "254:0")
    host.mount("254:0", "/", "ext4", "/dev/vda")
    assert reasons(host, NIC) == []


def test_swap(host: FakeHost) -> None:
    host.add(DISK, class_code=0x010000)
    host.block(DISK, "vda2", "254:2")
    (host.proc / "swaps").write_text("Filename Type Size Used Priority\n/dev/vda2 partition 1 0 -2\n")
    assert reasons(host, DISK) == ["holds swap space (vda2)"]


def test_a_shared_directory_of_the_hypervisor(host: FakeHost) -> None:
    path = host.add(DISK, ids=(0x1AF4, 0x1049), class_code=0x000200)
    (path / "virtio2").mkdir()
    (path / "virtio2/mount_tag").write_bytes(b"root\0")
    host.mount("0:20", "/", "9p", "root")
    assert reasons(host, DISK) == ["holds / (9p root)"]


def test_virtual_functions_would_vanish(host: FakeHost) -> None:
    path = host.add(driver="ixgbe")
    for number in range(2):
        (path / f"virtfn{number}").symlink_to(host.add(f"0000:00:10.{number}", group=10 + number))
    assert reasons(host) == ["has 2 virtual functions, which vanish with its driver"]
