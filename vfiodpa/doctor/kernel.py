"""The kernel's side: IOMMU, drivers, back ends, interrupt remapping."""

from __future__ import annotations

import os
from dataclasses import replace

from ..errors import Unsupported, VfiodpaError
from ..pci.device import VFIO_PCI
from ..pci.host import Host
from ..pci.iommu_group import groups
from ..pci.obstacles import IOMMU_REMEDY
from .check import Check, Level
from .probe import Prober

_UNSAFE = "module/{}/parameters/allow_unsafe_interrupts"  # each back end has a switch of its own


def check_iommu(host: Host) -> Check:
    """Is it on? Groups exist only where it is."""
    found = groups(host)
    if not found:
        return Check("IOMMU", Level.FAIL, "there is none, or it is off: no IOMMU groups", IOMMU_REMEDY)
    units = " ".join(host.names(host.sysfs / "class/iommu"))
    return Check("IOMMU", Level.OK, f"{len(found)} group{'s' * (len(found) > 1)}{f' ({units})' * bool(units)}")


def check_driver(host: Host) -> Check:
    """Is vfio-pci there, or at least a module that can be loaded?"""
    if host.driver(VFIO_PCI).is_dir():
        return Check(VFIO_PCI, Level.OK, "loaded or built in")
    if has_module(host, VFIO_PCI):
        return Check(VFIO_PCI, Level.FAIL, "not loaded", f"modprobe {VFIO_PCI}")
    return Check(VFIO_PCI, Level.FAIL, "this kernel has no such module", "a kernel with CONFIG_VFIO_PCI")


def check_backends(host: Host, prober: Prober) -> list[Check]:
    """iommufd or type1: one is enough."""
    found: list[Check] = []
    errors: list[tuple[str, VfiodpaError, str]] = []
    for name, remedy in (
        ("iommufd", _module_remedy(host, "iommufd", "CONFIG_IOMMUFD")),
        ("type1", _module_remedy(host, "vfio_iommu_type1", "CONFIG_VFIO_IOMMU_TYPE1")),
    ):
        try:
            found.append(Check(name, Level.OK, _ask(prober, name)))
        except VfiodpaError as error:
            errors.append((name, error, remedy))
    level = Level.INFO if found else Level.FAIL
    return found + [_refused(name, error, remedy, level) for name, error, remedy in errors]


def _refused(name: str, error: VfiodpaError, remedy: str, level: Level) -> Check:
    """What is absent is mended by a module; for the rest the error knows better."""
    check = Check.of_error(name, error, remedy, level)
    return replace(check, remedy=remedy) if isinstance(error, Unsupported) else check


def _ask(prober: Prober, name: str) -> str:
    if name == "type1":
        prober.type1()
        return "group containers work"
    files = prober.iommufd()
    return "works, maps memory " + ("by file" if files else "by address (the kernel has no IOAS_MAP_FILE)")


def check_remapping(host: Host, machine: str = "") -> Check:
    """Without interrupt remapping a device can raise any interrupt: the kernel refuses it, unless told."""
    name = "interrupt remapping"
    if (machine or os.uname().machine) != "x86_64":
        return Check(name, Level.INFO, "not checked on this architecture")
    if " IR-" in host.text(host.proc / "interrupts"):  # the chip's name of remapped interrupts
        return Check(name, Level.OK, "on")
    switches = [host.sysfs / _UNSAFE.format(module) for module in ("iommufd", "vfio_iommu_type1")]
    there = [switch for switch in switches if switch.exists()] or switches
    off = [str(switch) for switch in there if host.text(switch) not in ("Y", "1")]
    if not off:
        return Check(
            name, Level.WARN, "off, and allow_unsafe_interrupts is set: a guest's device can raise any interrupt"
        )
    remedy = f"enable it in the firmware (in a VM: intremap=on); for trusted guests only: echo 1 | tee {' '.join(off)}"
    return Check(name, Level.WARN, "seems off; the kernel then refuses devices (EPERM)", remedy)


def has_module(host: Host, name: str) -> bool:
    """Could modprobe load it for the running kernel?"""
    top = host.modules / os.uname().release
    wanted = f"/{name.replace('-', '_')}.ko"
    listed = host.text(top / "modules.dep") + host.text(top / "modules.builtin")
    return wanted in listed.replace("-", "_")


def _module_remedy(host: Host, module: str, option: str) -> str:
    return f"modprobe {module}" if has_module(host, module) else f"a kernel with {option}"
