"""``show``: one device in full, as far as it can be opened."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..errors import ExitCode, VfiodpaError
from ..frontends.vhost_user.offer import by_reason, explain
from ..pci.address import is_address, normalise
from ..pci.device import PciDevice
from ..pci.host import Host
from ..spec import features as spec
from ..spec.features import Feature
from ..spec.pci import ConfigHeader
from ..validate.flow_filter_facts import describe_flow_filter
from ..vdpa.candidate import Candidate
from ..vdpa.devices import Access, open_nic
from ..vdpa.doorbell import why_no_page
from ..vdpa.nic import Nic
from .function import describe_function, print_function
from .output import print_folded, print_grid, print_json
from .words import add_access, add_noiommu, add_trace


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``show --registers`` adds every readable register."""
    add_access(parser)
    add_noiommu(parser)
    add_trace(parser)
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
        print_function(facts)
    if candidate.device.on_vfio:
        try:
            return _show_nic(arguments, facts)
        except VfiodpaError as error:
            if not arguments.json:
                raise
            print_json("show/1", {"device": address, **facts, "not_open": str(error)})
            return error.exit_code
    if arguments.json:
        print_json("show/1", {"device": address, **facts})
    return ExitCode.DONE


def _show_nic(arguments: argparse.Namespace, facts: dict[str, Any]) -> ExitCode:
    access = Access(arguments.iommu, arguments.unsafe_noiommu, arguments.trace)
    with open_nic(arguments.device, access=access, driver=arguments.driver) as nic:
        body = facts | describe(nic)
        if arguments.registers:
            body["registers"] = nic.regs.dump()
        registers = [f"\n{name}: {block!r}" for name, block in nic.regs] if arguments.registers else []
        body["flow_filter"] = _flow_filter(nic)  # last: it resets the device
        if arguments.json:
            print_json("show/1", body)
            return ExitCode.DONE
        _print_device(body, by_reason(explain(nic.features.device, nic.features.guest)))
        for block in registers:
            print(block)
    return ExitCode.DONE


def _flow_filter(nic: Nic) -> dict[str, Any]:
    """What the device says of it, where it has an administration queue to ask."""
    if not nic.features.device & Feature.ADMIN_VQ:
        return {}
    return describe_flow_filter(nic.function)


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
        "interrupts": nic.device.interrupts,
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
        "doorbells": {
            "host_notifier": not (why := why_no_page(nic.device)),
            "why": why or "each queue's doorbell has a page of its own that a guest can be given",
        },
        "iommu": {"kind": nic.function.dma.kind, "reason": nic.function.dma.reason},
        "iova_ranges": [[hex(r.first), hex(r.last)] for r in nic.function.dma.iova_ranges],
    }


def _print_device(body: dict[str, Any], not_offered: dict[str, list[str]]) -> None:
    pci, features, queues, iommu, bells = (body[n] for n in ("pci", "features", "queues", "iommu", "doorbells"))
    pairs = body["queue_pairs"]
    can = [name for name, able in body["can"].items() if able]
    cannot = [name for name, able in body["can"].items() if not able]
    print_grid(
        ("device", f"{body['device']}, driver {body['driver']}"),
        ("PCI", f"{pci['id']}, subsystem {pci['subsystem']}, revision {pci['revision']}, {pci['vectors']} vectors"),
        ("config", ", ".join(_config_words(body["config"]))),
        ("queues", f"{pairs} pair{'s' * (pairs > 1)}, up to {max(q['size_max'] for q in queues)} entries"),
        ("host notifier", f"{'yes' if bells['host_notifier'] else 'no'}: {bells['why']}"),
        ("interrupts", body["interrupts"]),
        ("IOMMU", " ".join(word for word in (iommu["kind"], iommu["reason"] and f"({iommu['reason']})") if word)),
        ("IOVA", ", ".join(f"{first}-{last}" for first, last in body["iova_ranges"])),
        ("flow filter", _flow_filter_words(body["flow_filter"])),
        ("can", ", ".join(can)),
        ("cannot", ", ".join(cannot)),
        ("device offers", " ".join(features["device"])),
        ("guest gets", " ".join(features["guest"])),
    )
    print("\nnot offered to a guest:")
    for why, names in not_offered.items():
        print_folded(f"{why}:", indent=2)
        print_folded(" ".join(names), indent=6)


def _flow_filter_words(facts: dict[str, Any]) -> str:
    if not facts:
        return "none"
    if "problem" in facts:
        return f"not told: {facts['problem']}"
    partial = " (any bits)" if facts["partial_masks"] == facts["headers"] else ""
    return (
        f"{facts['rules_limit']} rules in {facts['groups_limit']} groups, by {facts['classifiers_limit']} classifiers "
        f"of {' '.join(facts['headers'])}{partial}: {' '.join(facts['actions'])}"
    )


def _config_words(config: dict[str, Any]) -> list[str]:
    """What the device tells of itself; fields that it does not have are left out."""
    shown: dict[str, Callable[[Any], str]] = {
        "mac": str,
        "link_up": lambda up: f"link {'up' if up else 'down'}",
        "mtu": lambda mtu: f"MTU {mtu}",
        "max_queue_pairs": lambda pairs: f"{pairs} queue pair{'s' * (pairs > 1)}",
        "speed": lambda speed: f"{speed} Mbit/s",
    }
    return [word(config[name]) for name, word in shown.items() if config[name] is not None]


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"show": run_show}
