"""``vfiodpa validate``: the conformance suite on a device, and what it found."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from ..errors import ExitCode, UsageError
from ..spec.clauses import Clause
from ..validate.check import Check, all_checks, select, unchecked, wanted
from ..validate.profiles import NIC_TODAY, PROFILES, in_profile, of_profile
from ..validate.reports.compare import Comparison
from ..validate.reports.files import Wanted
from ..validate.results import Run, load_run
from ..validate.runner import Runner
from ..validate.target import open_target
from ..validate.verdict import Verdict
from ..vdpa.devices import Access
from .validate_screen import Screen
from .validate_tables import prove, show_clauses, show_comparison
from .words import add_access

NO_CHECK_YET = "nobody wrote one yet"


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("device", metavar="DEVICE", nargs="?", default="soft", help="PCI address or soft[:...]")
    which = parser.add_argument_group("which clauses")
    which.add_argument(
        "--profile", choices=PROFILES, default=NIC_TODAY, help="what is asked of it, default %(default)s"
    )
    which.add_argument("--clause", metavar="ID", nargs="+", default=[], help="only these, for example P-COM-14")
    which.add_argument(
        "--group", metavar="NAME", nargs="+", default=[], help="only these blocks (P-COM) and chapters (pci, net, ...)"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--packed", action="store_true", help="packed rings where a check leaves it open")
    how.add_argument(
        "--wire", metavar="IFACE", default="", help="kernel interface at the other end of the wire, or its PCI address"
    )
    add_access(parser)
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
    return _run(arguments, reports, clauses, checks)


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


def _run(arguments: argparse.Namespace, reports: Wanted, clauses: list[Clause], checks: list[Check]) -> ExitCode:
    """A run, its summary and its reports."""
    with (
        open_target(arguments.device, Access(iommu=arguments.iommu), arguments.wire) as target,
        Runner(target.function, target.wire, packed=arguments.packed) as runner,
        Screen(checks, quiet=arguments.json) as screen,
    ):
        runner.calibrate()
        found = runner.run(checks, arguments.profile, screen.told)
    checked = {check.clause.id for check in checks}
    reasons = unchecked()
    found.unchecked = {one.id: reasons.get(one.id, NO_CHECK_YET) for one in clauses if one.id not in checked}
    written = reports.write(found)
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2), flush=True)
    else:
        screen.summary(found, written)
    return exit_code(found)


def exit_code(run: Run) -> ExitCode:
    """Done, failed, 6 when the device did not come back, 77 when nothing could be decided."""
    if any(outcome.verdict is Verdict.WEDGED for outcome in run.outcomes):
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
