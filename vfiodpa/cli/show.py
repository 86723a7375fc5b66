"""``list`` and ``show``: what is here, and what each can do."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..errors import ExitCode, Unsupported, VfiodpaError
from ..frontends.vhost_user.offer import by_reason, explain
from ..pci.enumerate import PciEntry, network_functions
from ..pci.sysfs import SysfsFunction
from ..spec import features as spec
from ..spec.pci import ConfigHeader
from ..vdpa.devices import Access, open_nic
from ..vdpa.nic import Nic
from ..vfio.group import check_ready
from .output import print_folded, print_grid, print_json, print_table
from .words import add_access

log = logging.getLogger(__name__)


def add_arguments(verb: str, parser: argparse.ArgumentParser) -> None:
    """``show --registers`` adds every readable register."""
    if verb == "show":
        add_access(parser)
        parser.add_argument(
            "--unsafe-noiommu", action="store_true", help="also without an IOMMU: registers only, nothing is mapped"
        )
        parser.add_argument("-r", "--registers", action="store_true", help="dump every readable register")


def run_list(arguments: argparse.Namespace) -> ExitCode:
    """All devices that DEVICE could name."""
    devices = [_soft_entry()]
    try:
        devices += [_pci_entry(entry) for entry in network_functions()]
    except Unsupported as error:
        log.warning("%s", error)  # the software NIC is here all the same
    if arguments.json:
        print_json("list/1", {"devices": devices})
    else:
        rows = [[str(d["device"]), str(d["kind"]), str(d["driver"] or "-"), str(d["obstacle"] or "-")] for d in devices]
        print_table(["DEVICE", "KIND", "DRIVER", "IN THE WAY"], rows)
    return ExitCode.DONE


def _soft_entry() -> dict[str, Any]:
    return {"device": "soft", "kind": "software virtio NIC", "driver": "vfiodpa", "obstacle": ""}


def _pci_entry(entry: PciEntry) -> dict[str, Any]:
    kind = "virtio" if entry.is_virtio else "network controller"
    return {
        "device": entry.address,
        "kind": f"{kind} {entry.vendor_id:04x}:{entry.device_id:04x}",
        "driver": entry.driver,
        "iommu_group": entry.iommu_group,
        "interfaces": list(entry.interfaces),
        "obstacle": _obstacle(entry),
    }


def _obstacle(entry: PciEntry) -> str:
    """What keeps it from being opened, and the command that mends it; empty: nothing that can be seen from here."""
    try:
        check_ready(SysfsFunction(entry.address))
    except VfiodpaError as error:
        return f"{error.what}; try: {error.remedy}" if error.remedy else error.what
    return ""


def run_show(arguments: argparse.Namespace) -> ExitCode:
    """One device in full."""
    access = Access(arguments.iommu, arguments.unsafe_noiommu)
    with open_nic(arguments.device, access=access, driver=arguments.driver) as nic:
        body = describe(nic)
        if arguments.json:
            print_json("show/1", body | ({"registers": nic.regs.dump()} if arguments.registers else {}))
            return ExitCode.DONE
        _print_device(body, by_reason(explain(nic.features.device, nic.features.guest)))
        if arguments.registers:
            for name, block in nic.regs:
                print(f"\n{name}: {block!r}")
    return ExitCode.DONE


def describe(nic: Nic) -> dict[str, Any]:
    """Everything ``show`` says, ready for JSON."""
    pci = ConfigHeader(nic.function.config)
    offers = explain(nic.features.device, nic.features.guest)
    return {
        "device": nic.name,
        "driver": nic.device.driver,
        "pci": {
            "id": f"{pci.vendor_id:04x}:{pci.device_id:04x}",
            "subsystem": f"{pci.subsystem_vendor_id:04x}:{pci.subsystem_id:04x}",
            "revision": pci.revision_id,
            "vectors": nic.function.vectors,
        },
        "config": asdict(nic.config),
        "queue_pairs": nic.device.queue_pairs,
        "queues": [
            {"queue": q.index, "kind": q.kind, "size_max": q.size_max, **asdict(q.doorbell)} for q in nic.queues
        ],
        "features": {
            "device": spec.names(nic.features.device),
            "device_mask": hex(nic.features.device),
            "guest": [offer.name for offer in offers if offer.offered],
            "not_offered": {offer.name: offer.why for offer in offers if not offer.offered},
        },
        "can": {
            "stop one queue": nic.device.can_stop_queue,
            "resume a queue where it stood": nic.device.can_restore_state,
            "announce a guest (RARP)": nic.device.can_announce,
            "log dirty pages": nic.device.can_log_dirty,
        },
        "iommu": {"kind": nic.function.dma.kind, "reason": nic.function.dma.reason},
        "iova_ranges": [[hex(r.first), hex(r.last)] for r in nic.function.dma.iova_ranges],
    }


def _print_device(body: dict[str, Any], not_offered: dict[str, list[str]]) -> None:
    pci, features, queues, iommu = body["pci"], body["features"], body["queues"], body["iommu"]
    pairs = body["queue_pairs"]
    can = [name for name, able in body["can"].items() if able]
    cannot = [name for name, able in body["can"].items() if not able]
    print_grid(
        ("device", f"{body['device']}, driver {body['driver']}"),
        ("PCI", f"{pci['id']}, subsystem {pci['subsystem']}, revision {pci['revision']}, {pci['vectors']} vectors"),
        ("config", ", ".join(_config_words(body["config"]))),
        ("queues", f"{pairs} pair{'s' * (pairs > 1)}, up to {max(q['size_max'] for q in queues)} entries"),
        ("IOMMU", " ".join(word for word in (iommu["kind"], iommu["reason"] and f"({iommu['reason']})") if word)),
        ("IOVA", ", ".join(f"{first}-{last}" for first, last in body["iova_ranges"])),
        ("can", ", ".join(can)),
        ("cannot", ", ".join(cannot)),
        ("device offers", " ".join(features["device"])),
        ("guest gets", " ".join(features["guest"])),
    )
    print("\nnot offered to a guest:")
    for why, names in not_offered.items():
        print_folded(f"{why}:", indent=2)
        print_folded(" ".join(names), indent=6)


def _config_words(config: dict[str, Any]) -> list[str]:
    """What the device tells of itself; fields that it does not have are left out."""
    shown: dict[str, Callable[[Any], str]] = {
        "mac": str,
        "link_up": lambda up: f"link {'up' if up else 'down'}",
        "mtu": lambda mtu: f"MTU {mtu}",
        "max_queue_pairs": lambda pairs: f"{pairs} queue pairs",
        "speed": lambda speed: f"{speed} Mbit/s",
    }
    return [word(config[name]) for name, word in shown.items() if config[name] is not None]


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"list": run_list, "show": run_show}
