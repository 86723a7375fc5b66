"""``doctor``: can this machine do it? One line for each check, and for each that fails what mends it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict

from rich.text import Text

from ..doctor.check import Check, Level, Report
from ..doctor.examine import examine
from ..errors import ExitCode
from .output import console, print_json

_STYLES = {Level.OK: "green", Level.INFO: "dim", Level.WARN: "yellow", Level.FAIL: "bold red"}


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """Optionally one device."""
    parser.add_argument(
        "device", metavar="DEVICE", nargs="?", default="", help="a PCI address, which is opened if it can be, or soft"
    )


def run_doctor(arguments: argparse.Namespace) -> ExitCode:
    """0 when able, 3 when the device is absent, 7 without an IOMMU, else 1."""
    report = examine(arguments.host, arguments.device)
    if arguments.json:
        checks = [asdict(check) for check in report.checks]
        body = {"device": arguments.device, "able": report.able, "software_able": report.software_able}
        print_json("doctor/1", {**body, "checks": checks})
    else:
        width = max(len(check.name) for check in report.checks)
        for check in report.checks:
            _print_check(check, width)
        print(_summary(report, arguments.device), flush=True)
    return report.exit_code


def _print_check(check: Check, width: int) -> None:
    line = Text.assemble((f"{check.level:<5}", _STYLES[check.level]), f" {check.name:<{width}}  {check.text}")
    out = console()
    out.print(line, soft_wrap=True)
    if check.remedy:
        out.print(f"{'':<{width + 6}}  try: {check.remedy}", soft_wrap=True, markup=False)


def _summary(report: Report, device: str) -> str:
    what = device or "PCI functions"
    if report.able:
        return f"\n{what}: can be served"
    failed = sum(check.level is Level.FAIL for check in report.checks)
    line = f"\n{what}: cannot be served, {failed} check{'s' * (failed > 1)} failed"
    if report.software_able:
        line += "; the software NIC works: vfiodpa serve soft --socket PATH"
    return line


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"doctor": run_doctor}
