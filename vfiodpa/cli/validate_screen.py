"""A validation run on the console: verdicts as they come, then what a reader must know."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..spec.clauses import CLAUSES, Clause
from ..validate.check import Check
from ..validate.results import Outcome, Run
from ..validate.verdict import Verdict
from .output import console

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.WARN: "yellow",
    Verdict.REJECT: "magenta",
    Verdict.WEDGED: "bold white on red",
    Verdict.SKIP: "dim",
    Verdict.INFO: "cyan",
}
INDENT = 20  # where a check's title begins
SLOW_S = 0.1  # from here on a line says how long its check took
MOST_REASONS = 6


class Screen:
    """``told`` prints a line for each outcome, under a heading for each block; a terminal has a progress bar too."""

    def __init__(self, checks: Sequence[Check], *, quiet: bool = False) -> None:
        self.out = console()
        self._checks = {check.clause.id: at for at, check in enumerate(checks)}
        self._names = [check.clause.id for check in checks]
        self._quiet = quiet
        self._block = ""
        self._progress = self._bar(len(checks)) if self.out.is_terminal and not quiet else None

    def _bar(self, total: int) -> tuple[Progress, TaskID]:
        columns = (TextColumn("[dim]{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=self.out, transient=True)
        return bar, bar.add_task(self._names[0] if self._names else "", total=total)

    def __enter__(self) -> Screen:
        if self._progress:
            self._progress[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._progress:
            self._progress[0].stop()

    def told(self, outcome: Outcome) -> None:
        """One check is done; the bar names the one that runs now."""
        if self._quiet:
            return
        clause = CLAUSES[outcome.clause]
        if clause.block != self._block:
            self._block = clause.block
            self._print(Text.assemble(("\n" + clause.block, "bold"), "  ", heading(clause)))
        took = f"  {outcome.seconds:.1f} s" if outcome.seconds >= SLOW_S else ""
        self._print(Text.assemble(_verdict(outcome), f" {clause.id:<10} ", outcome.title, (took, "dim")))
        if outcome.reason:
            self._fold(outcome.reason, STYLES[outcome.verdict])
        if outcome.verdict is Verdict.INFO and outcome.notes:
            self._fold(outcome.notes[0], STYLES[outcome.verdict])
        if self._progress:
            bar, task = self._progress
            after = self._checks[outcome.clause] + 1
            bar.update(task, advance=1, description=self._names[after] if after < len(self._names) else "")

    def summary(self, run: Run, written: Sequence[Path]) -> None:
        """What failed, what was left out and why, and the counts last: that is what stays on the screen."""
        bad = [one for one in run.outcomes if one.verdict.bad or one.verdict is Verdict.WARN]
        if bad:
            self._print(Text("\nfindings", "bold"))
        for outcome in bad:
            self._finding(outcome)
        self._left_out(run)
        if run.ended:
            self._print(Text(f"\nthe run ended early: {run.ended}", STYLES[Verdict.WEDGED]))
        self._print(Text(""))
        for path in written:
            self._print(Text(f"written: {path}"))
        self._print(_last_line(run))

    def _finding(self, outcome: Outcome) -> None:
        """Section, level, what the device has to do, what was seen, and how to look again."""
        clause = CLAUSES[outcome.clause]
        self._print(Text.assemble(_verdict(outcome), f" {clause.id:<10} ", clause.section))
        self._fold(f"{clause.level.value}: {clause.text}", "")
        self._fold(f"seen: {outcome.reason}", STYLES[outcome.verdict])
        self._fold(outcome.where, "dim")

    def _left_out(self, run: Run) -> None:
        why = Counter(one.reason for one in run.outcomes if one.verdict in (Verdict.SKIP, Verdict.REJECT))
        if why or run.unchecked:
            self._print(Text("\nnot decided", "bold"))
        for reason, count in why.most_common(MOST_REASONS):
            self._print(Text(f"{count:>7} {reason}", "dim"))
        if rest := sum(why.values()) - sum(count for _, count in why.most_common(MOST_REASONS)):
            self._print(Text(f"{rest:>7} for other reasons", "dim"))
        if run.unchecked:
            self._print(Text(f"{len(run.unchecked):>7} have no check: vfiodpa validate --list says why", "dim"))

    def _fold(self, text: str, style: str) -> None:
        """Lines under the title, folded at the terminal's edge."""
        width = max(self.out.width - INDENT, 30)
        for paragraph in text.splitlines():
            for line in textwrap.wrap(paragraph, width, break_long_words=False, break_on_hyphens=False):
                self._print(Text(" " * INDENT + line, style))

    def _print(self, line: Text) -> None:
        self.out.print(line, soft_wrap=True)


def heading(clause: Clause) -> str:
    """The specification's heading that the clause stands under."""
    return clause.section.rpartition(" / ")[2]


def _verdict(outcome: Outcome) -> tuple[str, str]:
    return f"  {outcome.verdict.value.upper():<6}", STYLES[outcome.verdict]


def _last_line(run: Run) -> Text:
    """``PASSED  143 pass, 17 skip in 12.3 s``."""
    words: list[str | tuple[str, str]] = [
        ("PASSED", "bold green") if run.passed else ("FAILED", STYLES[Verdict.FAIL]),
        "  ",
    ]
    for at, (verdict, count) in enumerate((one, run.counts[one.value]) for one in Verdict if run.counts[one.value]):
        words += [", " if at else "", (f"{count} {verdict.value}", STYLES[verdict])]
    return Text.assemble(*words, f" in {run.seconds:.1f} s")
