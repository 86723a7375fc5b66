"""``bind`` and ``unbind``: hand PCI functions to vfio-pci and give them back."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ..errors import ExitCode, NoDevice, UsageError
from ..pci import bind as binding
from ..pci.address import normalise
from ..pci.device import PciDevice
from ..pci.host import Host
from ..pci.rule import remove_rule, rule_path
from .output import print_json


def add_arguments(verb: str, parser: argparse.ArgumentParser) -> None:
    """One or more PCI addresses and what may be done to get them."""
    parser.add_argument("devices", metavar="BDF", nargs="+", type=_address, help="PCI address: 0000:3b:00.2 or 3b:00.2")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="print the commands that would be done, do nothing"
    )
    if verb == "bind":
        parser.add_argument("--group", action="store_true", help="take the others of its IOMMU group too")
        parser.add_argument("--persist", action="store_true", help="bind again at each boot, by a udev rule")
        parser.add_argument(
            "--unsafe-noiommu", action="store_true", help="without an IOMMU: the device can reach all memory"
        )


def _address(text: str) -> str:
    try:
        return normalise(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run_bind(arguments: argparse.Namespace) -> ExitCode:
    """All of them go to vfio-pci, or none."""
    host: Host = arguments.host
    chosen = binding.choose(host, arguments.devices, group=arguments.group, noiommu=arguments.unsafe_noiommu)
    rules = [f"# write {rule_path(host, device.address)}" for device in chosen if arguments.persist]
    writes = [str(write) for device in chosen for write in binding.bind_writes(host, device)]
    if arguments.dry_run:
        _print_plan(arguments, [*writes, *rules])
        return ExitCode.DONE
    after = binding.bind(host, chosen, persist=arguments.persist)
    _print_moves(arguments, [_move(host, *pair) for pair in zip(chosen, after, strict=True)])
    return ExitCode.DONE


def run_unbind(arguments: argparse.Namespace) -> ExitCode:
    """Each goes back to the driver that its ids choose; its udev rule goes too."""
    host: Host = arguments.host
    moves, plan = [], []
    for address in arguments.devices:
        before = _read_or_rule(host, address)
        if arguments.dry_run:
            plan += [str(write) for write in binding.unbind_writes(host, before)] if before else []
            plan += [f"rm {rule_path(host, address)}"] if rule_path(host, address).exists() else []
            continue
        after = binding.unbind(host, before) if before else None
        had_rule = remove_rule(host, address)
        if before and after:
            moves.append(_move(host, before, after) | {"rule_removed": had_rule})
        else:
            moves.append({"device": address, "from": "", "to": "", "rule_removed": had_rule})
    if arguments.dry_run:
        _print_plan(arguments, plan)
    else:
        _print_moves(arguments, moves)
    return ExitCode.DONE


def _read_or_rule(host: Host, address: str) -> PciDevice | None:
    """The function; ``None`` when only its rule is left. Raises ``NoDevice`` when there is neither."""
    try:
        return PciDevice.read(host, address)
    except NoDevice:
        if rule_path(host, address).exists():
            return None
        raise


def _move(host: Host, before: PciDevice, after: PciDevice) -> dict[str, Any]:
    nodes = []
    if after.on_vfio:
        nodes = [str(host.dev / "vfio" / after.group_node)]
        cdev = host.dev / "vfio/devices" / after.vfio_device  # in sysfs also where the kernel makes no node
        nodes += [str(cdev)] if after.vfio_device and cdev.exists() else []
    return {
        "device": after.address,
        "from": before.driver,
        "to": after.driver,
        "interfaces_gone": sorted(set(before.interfaces) - set(after.interfaces)),
        "iommu_group": after.iommu_group,
        "nodes": nodes,
        "rule": str(path) if (path := rule_path(host, after.address)).exists() else "",
    }


def _print_plan(arguments: argparse.Namespace, lines: list[str]) -> None:
    if arguments.json:
        print_json(f"{arguments.verb}/1", {"dry_run": True, "commands": lines})
    else:
        print("\n".join(lines) or "# nothing to do")


def _print_moves(arguments: argparse.Namespace, moves: list[dict[str, Any]]) -> None:
    if arguments.json:
        print_json(f"{arguments.verb}/1", {"dry_run": False, "devices": moves})
        return
    for move in moves:
        print(f"{move['device']}: {', '.join(_words(move))}")


def _words(move: dict[str, Any]) -> list[str]:
    old, new = move["from"] or "no driver", move["to"] or "no driver"
    words = [f"{old} -> {new}" if old != new else f"{new} has it already"]
    words += [f"{name} is gone" for name in move.get("interfaces_gone", ())]
    words += move.get("nodes", ())
    words += [f"again at each boot ({move['rule']})"] if move.get("rule") else []
    words += ["rule removed"] if move.get("rule_removed") else []
    return words


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"bind": run_bind, "unbind": run_unbind}
