"""``vfiodpa validate``: the conformance suite on a device."""

from __future__ import annotations

import argparse
import json

from ..errors import ExitCode, UsageError
from ..soft.mutants import all_mutants
from ..spec.clauses import CLAUSES
from ..validate.check import Check, all_checks, select, unchecked
from ..validate.profiles import NIC_TODAY, PROFILES, of_profile
from ..validate.results import Outcome
from ..validate.runner import Runner
from ..validate.selftest import self_test
from ..validate.target import open_target


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("device", metavar="DEVICE", nargs="?", default="soft", help="PCI address or soft[:...]")
    parser.add_argument(
        "--profile", choices=PROFILES, default=NIC_TODAY, help="which clauses apply (default: %(default)s)"
    )
    parser.add_argument("--clause", metavar="ID", nargs="+", default=[], help="only these, for example P-COM-14")
    parser.add_argument("--group", metavar="BLOCK", nargs="+", default=[], help="only these blocks, for example P-COM")
    parser.add_argument("--packed", action="store_true", help="packed rings where a check leaves it open")
    parser.add_argument(
        "--wire", metavar="IFACE", default="", help="kernel interface at the other end of the wire, or its PCI address"
    )
    parser.add_argument("--list", action="store_true", help="list the clauses and their checks")
    parser.add_argument("--self-test", action="store_true", help="prove each check on a NIC that breaks its clause")


def run(arguments: argparse.Namespace) -> int:
    """``vfiodpa validate``."""
    checks = select(
        of_profile(all_checks().values(), arguments.profile), clauses=arguments.clause, blocks=arguments.group
    )
    if arguments.list:
        return _list(checks)
    if arguments.self_test:
        return _self_test(checks)
    with (
        open_target(arguments.device, wire=arguments.wire) as target,
        Runner(target.function, target.wire, packed=arguments.packed) as runner,
    ):
        runner.calibrate()
        found = runner.run(checks, arguments.profile, lambda outcome: None if arguments.json else _print(outcome))
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        print(", ".join(f"{count} {verdict}" for verdict, count in found.counts.items() if count))
    return int(ExitCode.DONE if found.passed else ExitCode.FAILED)


def _print(outcome: Outcome) -> None:
    print(f"{outcome.verdict.value.upper():<7} {outcome.clause:<9} {outcome.title}")
    if outcome.reason:
        print(f"{'':17} {outcome.reason}", flush=True)


def _list(checks: list[Check]) -> int:
    have = {check.clause.id: check for check in checks}
    for clause in CLAUSES.values():
        check = have.get(clause.id)
        mutant = "mutant" if check and clause.id in all_mutants() else ""
        text = check.title if check else f"no check: {unchecked().get(clause.id, 'not in this selection')}"
        print(f"{clause.id:<9} {clause.level.value:<11} {mutant:<6} {text}")
    return int(ExitCode.DONE)


def _self_test(checks: list[Check]) -> int:
    if not checks:
        raise UsageError("no checks are selected")
    proofs = []
    for proof in self_test(checks):
        proofs.append(proof)
        how = "proved" if proof.proved else "NOT PROVED"
        print(
            f"{how:<11} {proof.mutant.clause:<9} {proof.mutant.does}: {proof.outcome.verdict.value}", *proof.disturbed
        )
    proved = sum(proof.proved for proof in proofs)
    print(f"{len(CLAUSES)} clauses, {len(checks)} checks, {len(proofs)} with a mutant, {proved} proved")
    return int(ExitCode.DONE if proved == len(proofs) else ExitCode.FAILED)


VERBS = {"validate": run}
