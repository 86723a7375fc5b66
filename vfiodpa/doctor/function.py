"""One PCI function: what stands in its way, and at last whether it opens."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import NoDevice, VfiodpaError
from ..pci.device import PciDevice
from ..pci.host import Host
from ..pci.iommu_group import IommuGroup
from ..pci.obstacles import IOMMU_REMEDY, group_obstacles
from ..pci.usage import in_use, vfio_users
from ..vdpa.candidate import our_driver
from .check import Check, Level
from .nodes import check_node
from .probe import Opened, Prober

NARROW = 46  # bits of I/O address; guests with much memory, or with it placed high, need that many


def function_checks(host: Host, address: str, prober: Prober) -> Iterator[Check]:
    """In the order in which they mend: each later one needs the earlier ones."""
    try:
        device = PciDevice.read(host, address)
    except NoDevice as error:
        yield Check.of_error("function", error, "vfiodpa list")
        return
    yield _check_ids(device)
    yield _check_use(host, device)
    yield _check_group(host, device)
    yield _check_driver(device)
    if device.on_vfio:
        yield from _node_checks(host, device)
        yield from _open_checks(host, device, prober)


def _check_ids(device: PciDevice) -> Check:
    name = our_driver(device)
    node = "" if device.numa_node is None else f", NUMA node {device.numa_node}"
    if name:
        return Check("function", Level.OK, f"{device.ids}, driver {name} knows it{node}")
    remedy = f"vfiodpa show {device.address} --driver virtio_pci, or write a driver (docs/how-to/add-a-driver.md)"
    return Check("function", Level.FAIL, f"no driver of vfiodpa knows {device.ids}{node}", remedy)


def _check_use(host: Host, device: PciDevice) -> Check:
    reasons = in_use(host, device)
    if reasons:
        return Check("use", Level.FAIL, f"this machine needs it: it {', '.join(reasons)}", "another function")
    return Check("use", Level.OK, "this machine can do without it")


def _check_group(host: Host, device: PciDevice) -> Check:
    if not device.has_iommu or device.iommu_group is None:
        return Check("IOMMU group", Level.FAIL, "none", IOMMU_REMEDY)
    for obstacle in group_obstacles(host, device):
        return Check("IOMMU group", Level.FAIL, obstacle.text, obstacle.remedy)
    members = IommuGroup.read(host, device.iommu_group).members
    others = ", ".join(str(member) for member in members if member.name != device.address)
    return Check("IOMMU group", Level.OK, f"{device.iommu_group}, {f'with {others}' if others else 'alone in it'}")


def _check_driver(device: PciDevice) -> Check:
    if device.on_vfio:
        return Check("bound to", Level.OK, device.driver)
    return Check("bound to", Level.FAIL, device.driver or "no driver", f"vfiodpa bind {device.address}")


def _node_checks(host: Host, device: PciDevice) -> Iterator[Check]:
    yield check_node(host.dev / "vfio" / device.group_node)
    node = host.dev / "vfio/devices" / device.vfio_device
    if device.vfio_device and node.exists():
        yield check_node(node)
    else:
        yield Check("character device", Level.INFO, "none (no CONFIG_VFIO_DEVICE_CDEV), type1 is used")


def _open_checks(host: Host, device: PciDevice, prober: Prober) -> Iterator[Check]:
    users = vfio_users(host, device)
    if users:
        who = ", ".join(map(str, users))
        yield Check("open", Level.FAIL, f"{who} has it open", f"end it: kill {users[0].pid}")
        return
    try:
        opened = prober.function(device.address)
    except VfiodpaError as error:
        yield Check.of_error("open", error, "dmesg | tail")
        return
    yield Check("open", Level.OK, f"by {opened.way} ({opened.reason}), {opened.vectors} interrupt vectors")
    yield check_ranges(opened)


def check_ranges(opened: Opened) -> Check:
    """How wide the IOMMU is, and which addresses it cannot map."""
    bits = max((r.last for r in opened.ranges), default=0).bit_length()
    shown = ", ".join(f"{r.first:#x}-{r.last:#x}" for r in opened.ranges) or "none"
    if bits >= NARROW:
        return Check("I/O addresses", Level.OK, f"{bits} bits: {shown}")
    remedy = f"guests whose memory ends below {1 << bits:#x} (in a VM: intel-iommu,aw-bits=48)"
    return Check("I/O addresses", Level.WARN, f"only {bits} bits: {shown}", remedy)
