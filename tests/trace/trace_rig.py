"""A recording made by hand: of what, and how it is changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vfiodpa.drivers.registry import driver_for
from vfiodpa.pci.function import PciFunction
from vfiodpa.registers import SubWindow
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.virtio_pci import CommonCfg
from vfiodpa.trace.file import load, record
from vfiodpa.trace.names import Line, Names
from vfiodpa.trace.replay import ReplayFunction

Use = Callable[[PciFunction], object]


def recorded(path: Path, use: Use, device: str = "soft") -> Path:
    """Record what ``use`` does to a software NIC."""
    with record(SoftFunction(device), path) as function:
        use(function)
    return path


def played(path: Path, use: Use, *, done: bool = True) -> None:
    """Play it back to ``use``."""
    with ReplayFunction.open(path) as function:
        use(function)
        if done:
            function.check_done()


def opened(function: PciFunction) -> None:
    """What a driver does when it is opened and closed."""
    driver_for(function).close()


def common_of(function: PciFunction) -> CommonCfg:
    """The common configuration, with Memory Space on."""
    ConfigHeader(function.config).command = Command.MEMORY
    return CommonCfg(SubWindow(function.bar(0), 0, CommonCfg.size))


def lines(path: Path) -> list[Line]:
    """A recording in words."""
    recording = load(path)
    names = Names(recording.subject)
    return [names.line(one) for one in recording.records]


def edited(path: Path, change: Callable[[list[Any]], Iterable[Any]]) -> Path:
    """Rewrite the lines after the first one."""
    first, *rest = path.read_text().splitlines()
    changed = [json.dumps(one) for one in change([json.loads(line) for line in rest])]
    path.write_text("\n".join([first, *changed]) + "\n")
    return path
