"""Hand PCI functions to vfio-pci and give them back, through driver_override.

Ref: Linux Documentation/ABI/testing/sysfs-bus-pci (driver_override, drivers_probe, bind, unbind).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import DeviceError, NoDevice, StateError, Unsupported, VfiodpaError
from .device import VFIO_PCI, PciDevice
from .host import Host
from .iommu_group import IommuGroup
from .obstacles import IOMMU_REMEDY
from .rule import install_rules
from .usage import in_use, vfio_users

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SysfsWrite:
    """One write. As text: the shell command that does the same."""

    path: Path
    value: str

    def __str__(self) -> str:
        return f"echo {self.value} > {self.path}" if self.value else f"echo > {self.path}"


def bind_writes(host: Host, device: PciDevice) -> list[SysfsWrite]:
    """What hands a function to vfio-pci; nothing when it has it already.

    The override goes first: when it is refused, the driver in place was not disturbed.
    """
    if device.driver == VFIO_PCI:
        return []
    writes = [SysfsWrite(host.device(device.address) / "driver_override", VFIO_PCI)]
    if device.driver:
        writes.append(SysfsWrite(host.driver(device.driver) / "unbind", device.address))
    return [*writes, SysfsWrite(host.pci / "drivers_probe", device.address)]


def unbind_writes(host: Host, device: PciDevice) -> list[SysfsWrite]:
    """What gives a function back to the driver that its ids choose; nothing when vfio-pci does not have it."""
    if not device.on_vfio and device.driver_override != VFIO_PCI:
        return []
    writes = [SysfsWrite(host.driver(device.driver) / "unbind", device.address)] if device.on_vfio else []
    if device.driver_override:
        writes.append(SysfsWrite(host.device(device.address) / "driver_override", ""))
    return [*writes, SysfsWrite(host.pci / "drivers_probe", device.address)]


def restore_writes(host: Host, before: PciDevice, now: PciDevice) -> list[SysfsWrite]:
    """What brings a function back to how it was, in an order that the kernel accepts.

    The override is put back before the old driver is asked: it would not match otherwise.
    """
    writes = []
    if now.driver and now.driver != before.driver:
        writes.append(SysfsWrite(host.driver(now.driver) / "unbind", now.address))
    if now.driver_override != before.driver_override:
        writes.append(SysfsWrite(host.device(now.address) / "driver_override", before.driver_override))
    if before.driver and now.driver != before.driver:
        writes.append(SysfsWrite(host.driver(before.driver) / "bind", now.address))
    return writes


def choose(host: Host, addresses: Sequence[str], *, group: bool = False, noiommu: bool = False) -> list[PciDevice]:
    """The functions that a bind of ``addresses`` takes; with ``group``, what their groups need as well.

    Raises ``StateError`` when one is in use or its group holds others, ``NoDevice`` when one or the
    driver is absent and ``Unsupported`` without an IOMMU (``noiommu``: do without one).
    """
    chosen = {address: PciDevice.read(host, address) for address in addresses}
    for device in chosen.values():
        _check_unused(host, device)
    if not host.driver(VFIO_PCI).is_dir():
        raise NoDevice(f"the kernel has no driver {VFIO_PCI} loaded", remedy=f"modprobe {VFIO_PCI}")
    for device in list(chosen.values()):
        _check_iommu(host, device, noiommu=noiommu)
        foreign = _foreign(host, device, chosen)
        if foreign and not group:
            raise StateError(
                f"its IOMMU group {device.iommu_group} also holds {', '.join(map(str, foreign.values()))}",
                device=device.address,
                cause="the kernel gives a group to user space as a whole",
                remedy=f"vfiodpa bind --group {device.address}",
            )
        for address in foreign:
            chosen[address] = PciDevice.read(host, address)
            _check_unused(host, chosen[address])
    return list(chosen.values())


def _foreign(host: Host, device: PciDevice, chosen: dict[str, PciDevice]) -> dict[str, object]:
    if device.iommu_group is None:
        return {}
    return {m.name: m for m in IommuGroup.read(host, device.iommu_group).foreign(*chosen)}


def _check_iommu(host: Host, device: PciDevice, *, noiommu: bool) -> None:
    if device.has_iommu:
        return
    if not noiommu:
        raise Unsupported("it is in no IOMMU group", device=device.address, remedy=IOMMU_REMEDY)
    switch = host.sysfs / "module/vfio/parameters/enable_unsafe_noiommu_mode"
    if host.text(switch) not in ("Y", "1"):
        raise Unsupported(
            "the kernel does not allow VFIO without an IOMMU", device=device.address, remedy=f"echo 1 > {switch}"
        )
    log.warning("%s: without an IOMMU, the device can read and write all memory of this machine", device.address)


def _check_unused(host: Host, device: PciDevice) -> None:
    reasons = in_use(host, device)
    if reasons:
        raise StateError(
            f"will not be taken from this machine: it {', '.join(reasons)}",
            device=device.address,
            remedy="another function, or free this one first",
        )


def bind(host: Host, devices: Sequence[PciDevice], *, persist: bool = False) -> list[PciDevice]:
    """Hand the functions to vfio-pci, all or none; returns how they stand then.

    ``persist`` also writes a udev rule for each. Raises what the kernel answers; whatever was done by
    then is taken back, in reverse.
    """
    with _all_or_nothing(host, devices):
        for device in devices:
            _carry_out(host, bind_writes(host, device))
            _expect_vfio(host, device)
        if persist:
            install_rules(host, [device.address for device in devices])
    return [PciDevice.read(host, device.address) for device in devices]


def unbind(host: Host, device: PciDevice) -> PciDevice:
    """Give one function back to the driver that its ids choose; returns how it stands then.

    Raises ``StateError`` when a process has it open: the kernel would wait for that process for ever.
    """
    users = vfio_users(host, device) if device.on_vfio else []
    if users:
        raise StateError(f"it is open in {', '.join(map(str, users))}", device=device.address, remedy="end it first")
    with _all_or_nothing(host, [device]):
        _carry_out(host, unbind_writes(host, device))
    return PciDevice.read(host, device.address)


def _carry_out(host: Host, writes: Sequence[SysfsWrite]) -> None:
    for write in writes:
        log.info("%s", write)
        host.write(write.path, write.value)


def _expect_vfio(host: Host, device: PciDevice) -> None:
    """A probe that fails is no error of the write that asked for it: the driver's link tells."""
    now = PciDevice.read(host, device.address)
    if now.driver != VFIO_PCI:
        raise DeviceError(
            f"{VFIO_PCI} did not take the device",
            device=device.address,
            cause=f"{now.driver or 'no driver'} has it",
            remedy="dmesg | tail",
        )


@contextmanager
def _all_or_nothing(host: Host, devices: Sequence[PciDevice]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for device in reversed(devices):
            _restore(host, device)
        raise


def _restore(host: Host, before: PciDevice) -> None:
    """Best effort, and never instead of the error that led here."""
    try:
        _carry_out(host, restore_writes(host, before, PciDevice.read(host, before.address)))
    except VfiodpaError as error:
        log.error("%s: could not be given back to %s: %s", before.address, before.driver or "no driver", error)  # noqa: TRY400
