"""Bind and unbind on a machine made of files: what is written, what is refused, what is taken back."""

from __future__ import annotations

import errno

import pytest

from tests.pci.fake_host import NIC, OTHER, FakeHost
from vfiodpa.errors import DeviceError, ExitCode, LimitError, NoDevice, StateError, Unsupported, VfiodpaError
from vfiodpa.pci import bind as binding
from vfiodpa.pci.device import VFIO_PCI, PciDevice
from vfiodpa.pci.rule import remove_rule, rule_path


def state(host: FakeHost, address: str = NIC) -> tuple[str, str]:
    device = PciDevice.read(host, address)
    return device.driver, device.driver_override


def take(host: FakeHost, *addresses: str, persist: bool = False, group: bool = False) -> list[PciDevice]:
    return binding.bind(host, binding.choose(host, addresses or (NIC,), group=group), persist=persist)


def test_a_device_goes_to_vfio_and_back(host: FakeHost) -> None:
    host.add()
    (bound,) = take(host)
    assert bound.driver == VFIO_PCI
    assert host.written == ["driver_override=vfio-pci", f"unbind={NIC}", f"drivers_probe={NIC}"]
    assert binding.unbind(host, bound).driver == "virtio-pci"
    assert state(host) == ("virtio-pci", "")


def test_a_device_without_a_driver_is_bound(host: FakeHost) -> None:
    host.add(driver="")
    take(host)
    assert state(host) == (VFIO_PCI, VFIO_PCI)


def test_binding_twice_writes_nothing(host: FakeHost) -> None:
    host.add()
    take(host)
    host.written.clear()
    take(host)
    assert host.written == []


def test_unbinding_what_another_driver_has_writes_nothing(host: FakeHost) -> None:
    host.add()
    binding.unbind(host, PciDevice.read(host, NIC))
    assert (host.written, state(host)) == ([], ("virtio-pci", ""))


def test_unbind_clears_an_override_that_no_driver_followed(host: FakeHost) -> None:
    path = host.add(driver="")
    host.natural[NIC] = "virtio-pci"
    (path / "driver_override").write_text("vfio-pci\n")
    assert binding.unbind(host, PciDevice.read(host, NIC)).driver == "virtio-pci"


@pytest.mark.parametrize("file", ["driver_override", "unbind", "drivers_probe"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_refused_write_takes_everything_back(host: FakeHost, file: str, code: int) -> None:
    host.add()
    host.refused[file, VFIO_PCI if file == "driver_override" else NIC] = code
    with pytest.raises(LimitError if code == errno.EACCES else VfiodpaError, match=errno.errorcode[code]):
        take(host)
    assert state(host) == ("virtio-pci", "")


def test_a_driver_that_does_not_take_the_device_is_an_error_and_taken_back(host: FakeHost) -> None:
    host.add()
    devices = binding.choose(host, [NIC])
    (host.device(NIC) / "iommu_group").unlink()  # so that the probe fails
    with pytest.raises(DeviceError, match="did not take"):
        binding.bind(host, devices)
    assert state(host) == ("virtio-pci", "")


def test_an_override_of_somebody_else_comes_back(host: FakeHost) -> None:
    path = host.add()
    (path / "driver_override").write_text("virtio-pci\n")
    host.refused["drivers_probe", NIC] = errno.EIO
    with pytest.raises(VfiodpaError):
        take(host)
    assert state(host) == ("virtio-pci", "virtio-pci")


def test_the_second_of_two_fails_and_the_first_is_given_back(host: FakeHost) -> None:
    host.add(NIC, group=3)
    host.add(OTHER, group=4)
    host.refused["drivers_probe", OTHER] = errno.EIO
    with pytest.raises(VfiodpaError):
        take(host, NIC, OTHER)
    assert state(host, NIC) == state(host, OTHER) == ("virtio-pci", "")


def test_a_failed_restore_does_not_hide_why(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    host.add()
    host.refused.update({("drivers_probe", NIC): errno.EIO, ("bind", NIC): errno.EBUSY})
    with pytest.raises(VfiodpaError, match="EIO"):
        take(host)
    assert "could not be given back to virtio-pci" in caplog.text


# What is refused


def test_absent(host: FakeHost) -> None:
    with pytest.raises(NoDevice, match="no such PCI function"):
        take(host)


def test_vfio_pci_not_loaded(host: FakeHost) -> None:
    host.add()
    host.driver(VFIO_PCI).rmdir()
    with pytest.raises(NoDevice, match="modprobe vfio-pci"):
        take(host)


def test_default_route(host: FakeHost) -> None:
    host.add(interface="eth0")
    host.default_route("eth0")
    with pytest.raises(StateError, match=r"carries the default route \(eth0\)") as caught:
        take(host)
    assert caught.value.exit_code == ExitCode.FAILED
    assert host.written == []


def test_foreign_members_are_named_with_their_drivers(host: FakeHost) -> None:
    host.add(NIC)
    host.add(OTHER, driver="snd_hda_intel")
    with pytest.raises(StateError, match=r"0000:00:06.0 \(snd_hda_intel\).*bind --group"):
        take(host)
    assert host.written == []


@pytest.mark.parametrize("driver", ["", "pcieport", "pci-stub", "mlx5_vfio_pci"])
def test_harmless_members_do_not_matter(host: FakeHost, driver: str) -> None:
    host.add(NIC)
    host.add(OTHER, driver=driver)
    take(host)
    assert state(host, OTHER)[0] == driver


def test_with_group_the_foreign_members_go_too(host: FakeHost) -> None:
    host.add(NIC)
    host.add(OTHER)
    take(host, group=True)
    assert state(host, NIC)[0] == state(host, OTHER)[0] == VFIO_PCI


def test_naming_every_member_is_enough(host: FakeHost) -> None:
    host.add(NIC)
    host.add(OTHER)
    assert len(take(host, NIC, OTHER)) == 2


def test_with_group_a_member_in_use_refuses_all(host: FakeHost) -> None:
    host.add(NIC)
    host.add(OTHER, interface="eth1")
    host.default_route("eth1")
    with pytest.raises(StateError, match=r"0000:00:06.0: will not be taken"):
        take(host, group=True)
    assert host.written == []


def test_no_iommu(host: FakeHost) -> None:
    host.add(group=None)
    with pytest.raises(Unsupported, match="in no IOMMU group"):
        take(host)
    with pytest.raises(Unsupported, match="does not allow VFIO without an IOMMU"):
        binding.choose(host, [NIC], noiommu=True)
    switch = host.sysfs / "module/vfio/parameters/enable_unsafe_noiommu_mode"
    switch.parent.mkdir(parents=True)
    switch.write_text("Y\n")
    assert binding.choose(host, [NIC], noiommu=True)[0].address == NIC


@pytest.mark.parametrize("node", ["3", "devices/vfio0"])
def test_unbind_names_the_process_that_has_it_open(host: FakeHost, node: str) -> None:
    path = host.add()
    (path / "vfio-dev/vfio0").mkdir(parents=True)
    (bound,) = take(host)
    host.process(77, "vfiodpa", host.dev / "vfio" / node)
    with pytest.raises(StateError, match=r"open in vfiodpa \(pid 77\)"):
        binding.unbind(host, bound)
    assert state(host)[0] == VFIO_PCI


# The rule


def test_persist_writes_a_rule_and_it_can_be_removed(host: FakeHost) -> None:
    host.add()
    take(host, persist=True)
    text = rule_path(host, NIC).read_text()
    assert f'KERNEL!="{NIC}"' in text
    assert 'ATTR{driver_override}="vfio-pci"' in text
    assert remove_rule(host, NIC)
    assert not remove_rule(host, NIC)
    assert list(host.rules.iterdir()) == []


def test_a_rule_that_cannot_be_written_takes_the_binding_back(host: FakeHost) -> None:
    host.add()
    host.rules.touch()  # a file where the directory should be
    with pytest.raises(LimitError, match="cannot write"):
        take(host, persist=True)
    assert state(host) == ("virtio-pci", "")


def test_of_two_rules_both_are_written_or_none(host: FakeHost) -> None:
    host.add(NIC)
    host.add(OTHER)
    rule_path(host, OTHER).mkdir(parents=True)  # so that it cannot be replaced
    with pytest.raises(LimitError):
        take(host, NIC, OTHER, persist=True)
    assert not rule_path(host, NIC).exists()


def test_a_write_reads_as_the_shell_command_that_does_it(host: FakeHost) -> None:
    host.add()
    writes = binding.bind_writes(host, PciDevice.read(host, NIC))
    assert str(writes[0]) == f"echo vfio-pci > {host.pci}/devices/{NIC}/driver_override"
