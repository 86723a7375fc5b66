"""Who was tested, and where: facts that head a report."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ..drivers.transport import find_structures
from ..errors import DeviceError, VfiodpaError
from ..pci.capabilities import read_layout
from ..pci.capability_list import Capability, capability_list
from ..pci.function import PciFunction
from ..spec.features import Feature, names
from ..spec.pci import CONFIG_SIZE, CapId, ConfigHeader
from ..spec.virtio_net import SPEED_UNKNOWN
from ..spec.virtio_pci import CfgType, VirtioPciCap
from ..trace.places import BLOCKS
from .device import Device
from .wire import Wire

log = logging.getLogger(__name__)

F = Feature
# Which fields of device configuration exist, and when (5.1.4).
FIELDS: dict[str, int] = {
    "status": F.NET_STATUS,
    "max_virtqueue_pairs": F.NET_MQ | F.NET_RSS,
    "mtu": F.NET_MTU,
    "speed": F.NET_SPEED_DUPLEX,
    "duplex": F.NET_SPEED_DUPLEX,
    "rss_max_key_size": F.NET_RSS | F.NET_HASH_REPORT,
    "rss_max_indirection_table_length": F.NET_RSS,
    "supported_hash_types": F.NET_RSS | F.NET_HASH_REPORT,
}


def describe(function: PciFunction) -> dict[str, Any]:
    """Ids, BARs, capabilities, features by name, queues, configuration. Resets the device.

    What a broken device does not let itself be asked is left out, and ``problems`` says what.
    """
    problems: list[str] = []
    header = ConfigHeader(function.config)
    device = Device(function)
    device.reset()
    capabilities, problem = capability_list(function.config)
    return {
        "name": function.name,
        "vendor_id": f"{int(header.vendor_id):04x}",
        "device_id": f"{int(header.device_id):04x}",
        "subsystem_vendor_id": f"{int(header.subsystem_vendor_id):04x}",
        "subsystem_id": f"{int(header.subsystem_id):04x}",
        "revision": int(header.revision_id),
        "class": "".join(f"{header.class_code[at]:02x}" for at in (2, 1, 0)),
        "features": names(device.offered),
        "queues": int(device.common.num_queues),
        "queue_sizes": _try(problems, [], lambda: _queue_sizes(device)),
        "vectors": function.vectors,
        "iommu": function.dma.kind,
        "config": _try(problems, {}, lambda: _config(device)),
        "bars": _try(problems, [], lambda: _bars(function)),
        "notify_multiplier": device.transport.notify_multiplier,
        "capabilities": [_capability(function, capability) for capability in capabilities],
        "problems": problems + ([problem] if problem else []),
    }


def _try(problems: list[str], otherwise: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except VfiodpaError as error:
        problems.append(str(error))
        return otherwise


def _queue_sizes(device: Device) -> list[int]:
    return [device.max_size(queue) for queue in range(min(int(device.common.num_queues), 64))]


def _config(device: Device) -> dict[str, Any]:
    """The fields that the offered features bring (5.1.4), ready for people."""
    offered, net = device.offered, device.net
    found: dict[str, Any] = {}
    if offered & F.NET_MAC:
        found["mac"] = ":".join(f"{net.mac[at]:02x}" for at in range(6))
    for name, features in FIELDS.items():
        if offered & features:
            value = getattr(net, name)
            found[name] = (value.name or "0").lower() if name == "status" else int(value)
    if found.get("speed") == SPEED_UNKNOWN:
        found["speed"] = "unknown"
    return found


def _bars(function: PciFunction) -> list[dict[str, Any]]:
    """BARs that are there, and the virtio structures in each by rising offset."""
    structures = find_structures(function)
    found: list[dict[str, Any]] = []
    for index in range(6):
        try:
            length = function.bar(index).length
        except DeviceError:
            continue  # not implemented
        inside = [
            {"name": BLOCKS[kind][0], "offset": at.offset, "length": at.length}
            for kind, at in structures.items()
            if at.bar == index
        ]
        found.append({"index": index, "length": length, "structures": sorted(inside, key=lambda one: one["offset"])})
    return found


def _capability(function: PciFunction, capability: Capability) -> dict[str, Any]:
    """With what virtio's own capabilities point to (4.1.4)."""
    found = asdict(capability)
    if capability.name == CapId.VENDOR.name.lower() and capability.offset + VirtioPciCap.size <= CONFIG_SIZE:
        cap = read_layout(function.config, capability.offset, VirtioPciCap)
        if cap.cfg_type in CfgType.__members__.values():
            kind = CfgType(cap.cfg_type)
            where = f"BAR {cap.bar} at {cap.offset:#x}, {cap.length:#x} bytes"
            found["detail"] = kind.name.lower() if kind is CfgType.VENDOR else f"{kind.name.lower()}: {where}"
    return found


def environment(wire: Wire | None, *, packed: bool = False) -> dict[str, Any]:
    """The machine in general terms, the wire, and which ring layout was used where a check leaves it open."""
    return {
        "vfiodpa": version("vfiodpa"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "wire": wire.name if wire else "",
        "rings": "packed" if packed else "split",
    }
