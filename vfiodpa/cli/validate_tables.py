"""Tables of ``validate``: the clauses, what the self-test proved, two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from ..errors import ExitCode
from ..soft.mutants import all_mutants
from ..spec.clauses import CLAUSES, Clause, chapter_of
from ..validate.check import Check, all_checks, unchecked
from ..validate.reports.compare import Comparison, Difference
from ..validate.selftest import Proof, self_test
from .output import console, print_json, print_table, verdict
from .validate_screen import STYLES


def show_clauses(clauses: Sequence[Clause], *, as_json: bool) -> ExitCode:
    """Each clause with its check, or the reason why it has none."""
    checks, mutants, reasons = all_checks(), all_mutants(), unchecked()
    rows = []
    for clause in clauses:
        check, mutant = checks.get(clause.id), mutants.get(clause.id)
        rows.append(
            {
                "clause": clause.id,
                "chapter": chapter_of(clause),
                "section": clause.section,
                "level": clause.level.value,
                "since": clause.since,
                "takes": clause.takes.name.lower(),
                "text": clause.text,
                "check": check.title if check else None,
                "where": check.where if check else None,
                "mutant": mutant.does if mutant else None,
                "reason": None if check else reasons.get(clause.id, "nobody wrote one yet"),
            }
        )
    checked = sum(row["check"] is not None for row in rows)
    if as_json:
        print_json("validate.list/1", {"clauses": rows, "checks": checked})
        return ExitCode.DONE
    columns = ("clause", "level", "since", "takes", "mutant", "check, or why there is none")
    print_table(columns, [_words(row) for row in rows])
    print(f"\n{len(rows)} clauses, {checked} have a check", flush=True)
    return ExitCode.DONE


def _words(row: dict[str, Any]) -> list[str]:
    text = row["check"] or f"({row['reason']})"
    return [row["clause"], row["level"], row["since"], row["takes"], "yes" if row["mutant"] else "", text]


def prove(checks: Sequence[Check], clauses: Sequence[Clause], *, as_json: bool) -> ExitCode:
    """The self-test: each check on the NIC that breaks its clause."""
    mutants = [check for check in checks if check.clause.id in all_mutants()]
    proofs: list[Proof] = []
    out = console(stderr=as_json)
    columns = (TextColumn("[dim]{task.description:<9}"), MofNCompleteColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=len(mutants))
        for proof in self_test(checks):
            proofs.append(proof)
            bar.update(task, advance=1, description=proof.mutant.clause)
    missing = [check.clause.id for check in checks if check.clause.id not in all_mutants()]
    proved = all(proof.proved for proof in proofs)
    if as_json:
        _proofs_as_json(proofs, missing)
    else:
        _proof_table(proofs, checks, clauses, missing)
    return verdict(proved and not missing)


def _proofs_as_json(proofs: Sequence[Proof], missing: Sequence[str]) -> None:
    rows = [
        {
            "clause": proof.mutant.clause,
            "does": proof.mutant.does,
            "proved": proof.proved,
            "verdict": proof.outcome.verdict.value,
            "seen": proof.outcome.reason,
            "disturbed": list(proof.disturbed),
        }
        for proof in proofs
    ]
    print_json("validate.self-test/1", {"proofs": rows, "without_mutant": list(missing)})


def _proof_table(
    proofs: Sequence[Proof], checks: Sequence[Check], clauses: Sequence[Clause], missing: Sequence[str]
) -> None:
    """Clauses, checks and proofs for each block, then what is not proved."""
    rows = []
    for block in dict.fromkeys(clause.block for clause in clauses):
        ours = (
            sum(clause.block == block for clause in clauses),
            sum(check.clause.block == block for check in checks),
            sum(proof.proved and CLAUSES[proof.mutant.clause].block == block for proof in proofs),
        )
        rows.append([block, *(str(count or "") for count in ours)])
    proved = sum(proof.proved for proof in proofs)
    rows.append(["all", str(len(clauses)), str(len(checks)), str(proved)])
    print_table(("block", "clauses", "checks", "proved"), rows)
    out = console()
    for proof in proofs:
        if not proof.proved:
            out.print(Text.assemble(("\nNOT PROVED ", "bold red"), f"{proof.mutant.clause}: {proof.mutant.does}"))
            out.print(f"  its check said {proof.outcome.verdict.value}: {proof.outcome.reason}", markup=False)
            if proof.disturbed:
                out.print(f"  others that failed: {' '.join(proof.disturbed)}", markup=False)
    if missing:
        out.print(Text.assemble(("\nNO MUTANT  ", "bold red"), " ".join(missing)), soft_wrap=True)
    print(f"\n{len(clauses)} clauses, {len(checks)} checks, {proved} proved", flush=True)


def show_comparison(comparison: Comparison, written: Sequence[Path]) -> None:
    """What changed from one run to the other; what is the same is only counted."""
    out = console()
    heads = [f"{run.device.get('name', '?')}, {run.started}" for run in (comparison.before, comparison.after)]
    print_table(("", "first", "second"), [["run", *heads], *map(list, comparison.facts)])
    for names, sign in zip(comparison.features, "+-", strict=True):
        if names:
            print(f"features {sign} {' '.join(names)}")
    if comparison.changed:
        print()
    for one in comparison.changed:
        out.print(_difference(one), soft_wrap=True)
    counts = ", ".join(f"{count} {change}" for change, count in comparison.counts.items() if count)
    print("".join(f"\nwritten: {path}" for path in written) + f"\n{counts}", flush=True)


def _difference(one: Difference) -> Text:
    """``worse    P-COM-14  pass -> fail  what was seen``."""
    words: list[str | tuple[str, str]] = [f"{one.change.value:<9}{one.clause:<10} "]
    for outcome, arrow in ((one.before, " -> "), (one.after, "")):
        words += [(outcome.verdict.value, STYLES[outcome.verdict]) if outcome else "none", arrow]
    last = one.after or one.before
    return Text.assemble(*words, f"  {(last.reason or last.title) if last else ''}")
