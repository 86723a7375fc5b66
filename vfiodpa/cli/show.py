"""``show``: one device in full, as far as it can be opened."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..errors import ExitCode, VfiodpaError
from ..frontends.vhost_user.offer import by_reason, explain
from ..pci.address import is_address, normalise
from ..pci.capability_list import capability_list
from ..pci.config_file import ConfigFile
from ..pci.device import PciDevice
from ..pci.host import Host
from ..pci.iommu_group import IommuGroup
from ..spec import features as spec
from ..spec.pci import ConfigHeader
from ..vdpa.candidate import Candidate
from ..vdpa.devices import open_nic
from ..vdpa.nic import Nic
from .output import print_folded, print_grid, print_json


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``show --registers`` adds every readable register."""
    parser.add_argument("-r", "--registers", action="store_true", help="dump every readable register")


def run_show(arguments: argparse.Namespace) -> ExitCode:
    """One device in full; a PCI function that cannot be opened as far as sysfs tells, and why it cannot."""
    if is_address(arguments.device):
        return _show_pci(arguments, normalise(arguments.device))
    return _show_nic(arguments, {})


def _show_pci(arguments: argparse.Namespace, address: str) -> ExitCode:
    host: Host = arguments.host
    candidate = Candidate.of(host, PciDevice.read(host, address))
    facts = describe_function(host, candidate)
    if not arguments.json:
        _print_function(facts)
    if candidate.device.on_vfio:
        try:
            return _show_nic(arguments, facts)
        except VfiodpaError as error:
            facts["not_open"] = str(error)
    if arguments.json:
        print_json("show/1", {"device": address, **facts})
    elif "not_open" in facts:
        print(f"\nnot opened: {facts['not_open']}")
    return ExitCode.DONE


def _show_nic(arguments: argparse.Namespace, facts: dict[str, Any]) -> ExitCode:
    with open_nic(arguments.device) as nic:
        body = facts | describe(nic)
        if arguments.json:
            print_json("show/1", body | ({"registers": nic.regs.dump()} if arguments.registers else {}))
            return ExitCode.DONE
        _print_device(body, by_reason(explain(nic.features.device, nic.features.guest)))
        if arguments.registers:
            for name, block in nic.regs:
                print(f"\n{name}: {block!r}")
    return ExitCode.DONE


def describe_function(host: Host, candidate: Candidate) -> dict[str, Any]:
    """What sysfs tells of a function, ready for JSON."""
    device = candidate.device
    try:
        capabilities, problem = capability_list(ConfigFile.read_from(host, device.address))
    except VfiodpaError as error:
        capabilities, problem = [], str(error)
    group = IommuGroup.read(host, device.iommu_group).members if device.iommu_group is not None else ()
    return {
        "function": candidate.describe(),
        "group_members": [asdict(member) for member in group],
        "capabilities": [asdict(capability) for capability in capabilities],
        "capabilities_problem": problem,
    }


def _print_function(facts: dict[str, Any]) -> None:
    function = facts["function"]
    print_grid(
        ("function", f"{function['device']}, {function['kind']}, subsystem {function['subsystem']}"),
        ("bound to", function["driver"] or "no driver"),
        ("vfiodpa driver", function["vfiodpa_driver"]),
        ("interfaces", " ".join(function["interfaces"])),
        ("NUMA node", "" if function["numa_node"] is None else str(function["numa_node"])),
        ("IOMMU group", _group_words(function["iommu_group"], facts["group_members"])),
        ("VF of", function["physical_function"]),
        ("VFs", " ".join(function["virtual_functions"])),
    )
    print("\ncapabilities:")
    for capability in facts["capabilities"]:
        print_folded(f"{capability['name']}  {capability['detail']}".rstrip(), first=f"  {capability['offset']:#05x}", indent=9)
    if facts["capabilities_problem"]:
        print_folded(facts["capabilities_problem"], indent=2)
    if function["obstacles"]:
        print("\nin the way:")
        for obstacle in function["obstacles"]:
            print_folded(f"{obstacle['text']}; try: {obstacle['remedy']}", indent=2)
    print(flush=True)


def _group_words(number: int | None, members: list[dict[str, str]]) -> str:
    if number is None:
        return ""
    return f"{number}: " + ", ".join(f"{member['name']} ({member['driver'] or 'no driver'})" for member in members)


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
        },
        "iova_ranges": [[hex(r.first), hex(r.last)] for r in nic.function.dma.iova_ranges],
    }


def _print_device(body: dict[str, Any], not_offered: dict[str, list[str]]) -> None:
    pci, features, queues = body["pci"], body["features"], body["queues"]
    pairs = body["queue_pairs"]
    can = [name for name, able in body["can"].items() if able]
    cannot = [name for name, able in body["can"].items() if not able]
    print_grid(
        ("device", f"{body['device']}, driver {body['driver']}"),
        ("PCI", f"{pci['id']}, subsystem {pci['subsystem']}, revision {pci['revision']}, {pci['vectors']} vectors"),
        ("config", ", ".join(_config_words(body["config"]))),
        ("queues", f"{pairs} pair{'s' * (pairs > 1)}, up to {max(q['size_max'] for q in queues)} entries"),
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


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"show": run_show}
