"""``vfiodpa validate``: the conformance suite on a device, and what it found."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import ExitCode, UsageError, VfiodpaError
from ..spec.clauses import Clause
from ..validate.benchfile import BenchDevice, find_device, load_bench
from ..validate.check import Check, all_checks, select, unchecked, wanted
from ..validate.profiles import NIC_TODAY, PROFILES, in_profile, of_profile
from ..validate.reports.compare import Comparison
from ..validate.reports.files import Wanted
from ..validate.results import Run, load_run
from ..validate.resume import take_up, write_run
from ..validate.runner import Runner
from ..validate.target import open_target
from ..validate.verdict import Verdict
from ..vdpa.devices import Access
from .validate_screen import Screen
from .validate_tables import prove, show_clauses, show_comparison
from .words import add_access, add_trace

NO_CHECK_YET = "nobody wrote one yet"


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "device", metavar="DEVICE", nargs="?", default="soft", help="PCI address or soft[:...], default %(default)s"
    )
    which = parser.add_argument_group("which clauses")
    which.add_argument("--profile", choices=PROFILES, help=f"what is asked of it, default {NIC_TODAY}")
    which.add_argument("--clause", metavar="ID", nargs="+", default=[], help="only these, for example P-COM-14")
    which.add_argument(
        "--group", metavar="NAME", nargs="+", default=[], help="only these blocks (P-COM) and chapters (pci, net, ...)"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--packed", action="store_true", help="packed rings where a check leaves it open")
    how.add_argument("--wire", metavar="IFACE", help="network interface of this machine at the other end of the wire")
    how.add_argument(
        "--resume", metavar="RUN.json", type=Path, help="keep the run in this file, and go on with what is in it"
    )
    how.add_argument("--bench", metavar="FILE", type=Path, help="a lab's devices, TOML: DEVICE is a name in it")
    add_access(parser)
    add_trace(parser)
    instead = parser.add_argument_group("instead of a run")
    instead.add_argument("--list", action="store_true", help="list the clauses, their checks, and why some have none")
    instead.add_argument("--self-test", action="store_true", help="prove each check on a NIC that breaks its clause")
    instead.add_argument(
        "--compare", metavar=("A.json", "B.json"), nargs=2, type=Path, help="show two runs side by side"
    )
    reports = parser.add_argument_group("reports")
    reports.add_argument("--report", metavar="DIR", type=Path, help="report.html, junit.xml and run.json in there")
    reports.add_argument("--html", metavar="FILE", type=Path, help="one page, with everything in it")
    reports.add_argument("--junit", metavar="FILE", type=Path, help="JUnit XML, for CI")
    reports.add_argument("--report-json", metavar="FILE", type=Path, help="what --compare reads")


def run_validate(arguments: argparse.Namespace) -> ExitCode:
    """One of what the verb can do."""
    bench = _bench(arguments)
    reports = Wanted.of(arguments.report, arguments.html, arguments.junit, arguments.report_json)
    reports.check()
    if arguments.compare:
        return _compare(arguments, reports)
    clauses = _clauses(arguments)
    if arguments.list:
        return show_clauses(clauses, as_json=arguments.json)
    checks = _checks(arguments)
    if arguments.self_test:
        return prove(checks, clauses, as_json=arguments.json)
    return _run(arguments, bench, reports, clauses, checks)


def _clauses(arguments: argparse.Namespace) -> list[Clause]:
    """Those of the profile; one that is named is taken whatever the profile says."""
    named = {one.upper() for one in arguments.clause}
    return [
        clause
        for clause in wanted(arguments.clause, arguments.group)
        if clause.id in named or in_profile(clause, arguments.profile)
    ]


def _checks(arguments: argparse.Namespace) -> list[Check]:
    named = {one.upper() for one in arguments.clause}
    checks = all_checks().values()
    asked = {check.clause.id for check in of_profile(checks, arguments.profile)} | named
    chosen = [check for check in checks if check.clause.id in asked]
    found = select(chosen, clauses=arguments.clause, groups=arguments.group)
    if not found:
        raise UsageError("no checks are selected", remedy="vfiodpa validate --list")
    return found


def _bench(arguments: argparse.Namespace) -> BenchDevice:
    """The device as the bench file has it, if there is one; else as it is named."""
    device = BenchDevice(arguments.device, arguments.device)
    if arguments.bench is not None:
        device = find_device(load_bench(arguments.bench), arguments.device, arguments.bench)
    arguments.packed = arguments.packed or device.packed
    arguments.wire = arguments.wire or device.wire
    arguments.profile = arguments.profile or device.profile or NIC_TODAY
    return device


def _run(
    arguments: argparse.Namespace, bench: BenchDevice, reports: Wanted, clauses: list[Clause], checks: list[Check]
) -> ExitCode:
    """A run, its summary and its reports."""
    path: Path | None = arguments.resume
    before = take_up(path, arguments.profile, packed=arguments.packed) if path else None
    access = Access(arguments.iommu, trace=arguments.trace)
    with (
        open_target(bench.device, access, wire=arguments.wire, hooks=bench.hooks, host=arguments.host) as target,
        Runner(target.function, target.wire, packed=arguments.packed, hooks=target.hooks) as runner,
        Screen(checks, quiet=arguments.json) as screen,
    ):
        runner.calibrate()
        keep = partial(write_run, path) if path else lambda _run: None
        found = runner.run(checks, arguments.profile, screen.told, before=before, keep=keep)
        stopped, lost = runner.signals.asked, runner.lost
    checked = {check.clause.id for check in checks} | {outcome.clause for outcome in found.outcomes}
    reasons = unchecked()
    found.unchecked = {one.id: reasons.get(one.id, NO_CHECK_YET) for one in clauses if one.id not in checked}
    try:
        written = reports.write(found)
    except VfiodpaError:
        _tell(found, [], screen, as_json=arguments.json)  # a full disk does not take the verdicts with it
        raise
    _tell(found, written, screen, as_json=arguments.json)
    return ExitCode.INTERRUPTED if stopped else exit_code(found, lost=lost)


def _tell(run: Run, written: list[Path], screen: Screen, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(run.to_json(), indent=2), flush=True)
    else:
        screen.summary(run, written)


def exit_code(run: Run, *, lost: bool = False) -> ExitCode:
    """Done, failed, 6 when the device did not come back or was ``lost``, 77 when nothing could be decided."""
    if lost or any(outcome.verdict is Verdict.WEDGED for outcome in run.outcomes):
        return ExitCode.DEVICE
    if not run.passed:
        return ExitCode.FAILED
    undecided = (Verdict.SKIP, Verdict.REJECT)
    return ExitCode.SKIPPED if all(outcome.verdict in undecided for outcome in run.outcomes) else ExitCode.DONE


def _compare(arguments: argparse.Namespace, reports: Wanted) -> ExitCode:
    """Two runs; failed when anything is worse in the second."""
    comparison = Comparison(*map(load_run, arguments.compare))
    written = reports.write_comparison(comparison)
    if arguments.json:
        print(json.dumps(comparison.to_json(), indent=2), flush=True)
    else:
        show_comparison(comparison, written)
    return ExitCode.FAILED if comparison.worse else ExitCode.DONE


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"validate": run_validate}
