"""``list``: what is here, what each can do and what stands in its way; ``--watch``: what comes and goes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..errors import ExitCode
from ..pci.hotplug import Hotplug, HotplugEvent
from ..vdpa.candidate import candidates
from .output import print_json, print_table

COLUMNS = {
    "DEVICE": "device",
    "KIND": "kind",
    "DRIVER": "driver",
    "GROUP": "iommu_group",
    "NUMA": "numa_node",
    "INTERFACES": "interfaces",
    "VF OF": "physical_function",
    "IN THE WAY": "obstacle",
}
_SOFT = {
    "device": "soft",
    "kind": "software virtio NIC",
    "driver": "vfiodpa",
    "vfiodpa_driver": "softnic",
    "obstacle": "",
    "obstacles": [],
}


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``--watch``."""
    parser.add_argument(
        "-w", "--watch", action="store_true", help="then say what comes, goes and changes its driver, until interrupted"
    )


def run_list(arguments: argparse.Namespace) -> ExitCode:
    """All devices that DEVICE could name; with ``--watch`` one line (one JSON object) for each event."""
    hotplug = Hotplug() if arguments.watch else None  # before the list, so that nothing falls between
    devices: list[dict[str, Any]] = [_SOFT, *(found.describe() for found in candidates(arguments.host))]
    if arguments.json:
        print_json("list/1", {"devices": devices})
    else:
        rows = [[_cell(device.get(key)) for key in COLUMNS.values()] for device in devices]
        used = [i for i in range(len(COLUMNS)) if any(row[i] != "-" for row in rows)]
        print_table([list(COLUMNS)[i] for i in used], [[row[i] for i in used] for row in rows])
    for event in hotplug or ():
        print(_event(event, as_json=arguments.json), flush=True)
    return ExitCode.DONE


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = " ".join(value)
    return "-" if value in (None, "") else str(value)


def _event(event: HotplugEvent, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"schema": "vfiodpa.event/1", **asdict(event)})
    return " ".join(word for word in (event.action, event.address, event.ids, event.driver) if word)


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"list": run_list}
