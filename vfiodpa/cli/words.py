"""Options that several verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError
from ..soft.device_string import POLL_WORDS
from ..soft.workers import parse_cpus
from ..vfio.backend import IommuKind


def add_access(parser: argparse.ArgumentParser) -> None:
    """``--iommu``: how a PCI function is reached."""
    kinds = [kind.value for kind in IommuKind]
    text = "the kernel's way to the IOMMU, for PCI functions (default: auto, iommufd where it can be used)"
    parser.add_argument("--iommu", choices=kinds, default=IommuKind.AUTO.value, help=text)


def add_noiommu(parser: argparse.ArgumentParser) -> None:
    """``--unsafe-noiommu``: for verbs that look at registers and serve nobody."""
    text = "also without an IOMMU: registers only, nothing is mapped"
    parser.add_argument("--unsafe-noiommu", action="store_true", help=text)


def add_trace(parser: argparse.ArgumentParser) -> None:
    """``--trace``: for verbs that open a device."""
    text = "record what passes between driver and device (and guest) in FILE; `vfiodpa trace show FILE` reads it"
    parser.add_argument("--trace", type=Path, metavar="FILE", help=text)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """``--cpus`` and ``--poll``: the threads behind a software NIC."""
    text = "CPUs that the software NIC's workers are pinned to, in turn, such as 2,3-5 (soft:cpus=2+3-5)"
    parser.add_argument("--cpus", metavar="LIST", help=text)
    text = "when the software NIC's workers sleep: busy (never), adaptive (soon, the default), sleep (at once)"
    parser.add_argument("--poll", choices=list(POLL_WORDS), help=text)


def device_of(arguments: argparse.Namespace) -> str:
    """DEVICE with ``--cpus`` and ``--poll`` as its keys. Raises ``UsageError``, also for a PCI function."""
    device: str = arguments.device
    keys = {"cpus": arguments.cpus and "+".join(map(str, parse_cpus(arguments.cpus))), "poll": arguments.poll}
    words = [f"{key}={value}" for key, value in keys.items() if value is not None]
    if not words:
        return device
    kind, colon, _ = device.partition(":")
    if kind != "soft":
        raise UsageError("--cpus and --poll are for the software NIC", cause="of hardware no thread moves the frames")
    return device + ("," if colon else ":") + ",".join(words)
