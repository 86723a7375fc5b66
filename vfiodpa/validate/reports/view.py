"""What the page shows, ready to be put into its template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from ...spec.clauses import CHAPTERS, CLAUSES, Takes, chapter_of
from ..results import Outcome, Run
from .compare import Change, Comparison, Difference

UNCHECKED = "none"  # what the page calls a clause without a check
# What each verdict means, in the order in which the page counts them.
MEANING: dict[str, str] = {
    "pass": "the device did as the clause says",
    "fail": "a MUST or MUST NOT is broken",
    "warn": "a SHOULD or SHOULD NOT is not followed",
    "wedged": "the device did not come back: the run ended",
    "reject": "the device refused, as it may, what the check had to set up",
    "skip": "nothing to check here, with the reason",
    "info": "a permission: what the device does is recorded",
    UNCHECKED: "no check is made of the clause, with the reason",
}
CHANGES: dict[Change, str] = {
    Change.WORSE: "worse in the second run",
    Change.BETTER: "better in the second run",
    Change.CHANGED: "a verdict in one run only",
    Change.NEW: "only in the second run",
    Change.GONE: "only in the first run",
    Change.SAME: "the same in both",
}
DUPLEX = {0: "half", 1: "full", 0xFF: "unknown"}
UNITS: dict[str, Callable[[Any], str]] = {
    "status": lambda value: str(value).replace("_", " ").replace("|", ", "),
    "speed": lambda value: str(value) if value == "unknown" else f"{value} Mbit/s",
    "duplex": lambda value: DUPLEX.get(value, str(value)),
    "supported_hash_types": lambda value: f"{value:#x}",
}
TAKES: dict[Takes, str] = {
    Takes.FUNCTION: "the function alone",
    Takes.IOMMU: "an IOMMU",
    Takes.WIRE: "a wire peer",
    Takes.EVENT: "an event from outside",
    Takes.RACE: "a race: can refute, not prove",
    Takes.OWNER: "the owner PF and its VFs",
    Takes.NOTHING: "nothing: recorded only",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One clause. ``was``: its verdict in the first run, where two are shown."""

    clause: str
    verdict: str
    level: str
    text: str
    since: str
    takes: str
    title: str = ""
    reason: str = ""
    seconds: float = 0.0
    where: str = ""
    notes: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()
    rings: tuple[str, ...] = ()
    was: str = ""
    was_reason: str = ""
    change: str = ""

    @property
    def line(self) -> str:
        """Why; of a permission what was recorded, if that is one line."""
        said = self.notes[0] if self.verdict == "info" and self.notes else ""
        return self.reason or ("" if "\n" in said else said)

    @property
    def heading(self) -> str:
        """The specification's heading that the clause stands under."""
        return CLAUSES[self.clause].section.rpartition(" / ")[2]

    @property
    def time(self) -> str:
        """``'12 ms'``; empty where no check ran."""
        return "" if self.verdict == UNCHECKED else time_in_words(self.seconds)

    @property
    def loud(self) -> bool:
        """Is it what a reader came for?"""
        return self.verdict in ("fail", "warn", "wedged") or self.change in ("worse", "better")


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one block."""

    block: str
    chapter: str
    section: str
    rows: list[Row]

    @property
    def title(self) -> str:
        """The last part of the section's path."""
        return self.section.rpartition(" / ")[2]

    @property
    def counts(self) -> dict[str, int]:
        """Of verdicts that occur, in order."""
        counted = Counter(row.verdict for row in self.rows)
        return {verdict: counted[verdict] for verdict in MEANING if counted[verdict]}


@dataclass(frozen=True, slots=True)
class Page:
    """All of it."""

    run: Run
    groups: list[Group]
    comparison: Comparison | None = None
    meaning: dict[str, str] = field(default_factory=lambda: MEANING)

    @property
    def word(self) -> str:
        """The verdict on the device, or on the second run against the first."""
        if self.comparison is not None:
            return "worse" if self.comparison.worse else "no worse"
        if self.run.counts["wedged"]:
            return "wedged"
        if self.run.ended:
            return "not finished"
        return "passed" if self.run.passed else "failed"

    @property
    def good(self) -> bool:
        """Green or red."""
        return self.word in ("passed", "no worse")

    @property
    def rows(self) -> list[Row]:
        """Every row."""
        return [row for group in self.groups for row in group.rows]

    @property
    def counts(self) -> dict[str, int]:
        """Of each verdict."""
        counted = Counter(row.verdict for row in self.rows)
        return {verdict: counted[verdict] for verdict in MEANING}

    @property
    def decided(self) -> int:
        """Clauses on which something was found out."""
        return sum(self.counts[one] for one in ("pass", "fail", "warn", "wedged", "info"))

    @property
    def changes(self) -> list[tuple[str, int, str]]:
        """Each change with its count and meaning; empty for a single run."""
        if self.comparison is None:
            return []
        counts = self.comparison.counts
        return [(change.value, counts[change.value], text) for change, text in CHANGES.items()]

    @property
    def chapters(self) -> list[str]:
        """Those that the run has clauses of."""
        there = {group.chapter for group in self.groups}
        return [name for name in CHAPTERS if name in there]

    @property
    def skips(self) -> list[tuple[str, list[str]]]:
        """Reasons why nothing was found out, and the clauses of each; the most frequent first."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.verdict in ("skip", "reject"):
                found.setdefault(row.reason, []).append(row.clause)
        return sorted(found.items(), key=lambda one: -len(one[1]))

    @property
    def loud(self) -> list[Row]:
        """What a reader came for, the worst first; of two runs, what changed."""
        order = ("wedged", "fail", "warn")
        found = [row for row in self.rows if row.loud and (self.comparison is None or row.change != Change.SAME.value)]
        return sorted(found, key=lambda row: order.index(row.verdict) if row.verdict in order else len(order))

    @property
    def slowest(self) -> list[Row]:
        """The five checks that took longest, of those that took any time."""
        return [row for row in sorted(self.rows, key=lambda row: -row.seconds)[:5] if row.seconds >= 0.001]

    @property
    def identity(self) -> list[tuple[str, str]]:
        """Names and values."""
        device = self.run.device
        plain = ("name", "revision", "class", "queues", "vectors", "iommu", "notify_multiplier")
        found = [(name.replace("_", " "), str(device[name])) for name in plain if device.get(name) not in (None, "")]
        for name in ("", "subsystem_"):
            vendor, number = device.get(f"{name}vendor_id"), device.get("subsystem_id" if name else "device_id")
            if vendor:
                found.insert(1 + bool(name), ("subsystem" if name else "PCI id", f"{vendor}:{number}"))
        if sizes := device.get("queue_sizes"):
            found.append(("queue sizes", " ".join(map(str, sizes[:8])) + (" …" if len(sizes) > 8 else "")))
        return found

    @property
    def config(self) -> list[tuple[str, str]]:
        """Device configuration, with units."""
        table = self.run.device.get("config", {})
        return [(name.replace("_", " "), UNITS.get(name, str)(value)) for name, value in table.items()]

    @property
    def features(self) -> list[tuple[str, list[str]]]:
        """Those of the network device and the reserved ones."""
        names = list(self.run.device.get("features", []))
        net = [name.removeprefix("NET_") for name in names if name.startswith("NET_")]
        rest = [name for name in names if not name.startswith("NET_")]
        return [(heading, found) for heading, found in (("network", net), ("rings and transport", rest)) if found]

    @property
    def started(self) -> str:
        """In words."""
        return in_words(self.run.started)


def in_words(moment: str) -> str:
    """``2026-11-23T05:00:01+00:00`` -> ``23 November 2026, 05:00 UTC``."""
    try:
        return f"{datetime.fromisoformat(moment):%-d %B %Y, %H:%M} UTC"
    except ValueError:
        return moment


def run_view(run: Run) -> Page:
    """One run."""
    return Page(run, _groups([*map(_row, run.outcomes), *_unchecked(run)]))


def comparison_view(comparison: Comparison) -> Page:
    """The second run against the first."""
    return Page(comparison.after, _groups(map(_compared, comparison.differences)), comparison)


def _groups(rows: Iterable[Row]) -> list[Group]:
    order = {clause: at for at, clause in enumerate(CLAUSES)}
    ordered = sorted(rows, key=lambda row: order[row.clause])
    return [
        Group(block, chapter_of(CLAUSES[members[0].clause]), CLAUSES[members[0].clause].section, members)
        for block, members in ((key, list(found)) for key, found in groupby(ordered, lambda r: CLAUSES[r.clause].block))
    ]


def _row(outcome: Outcome, difference: Difference | None = None) -> Row:
    clause = CLAUSES[outcome.clause]
    before = difference.before if difference else None
    return Row(
        clause.id,
        outcome.verdict.value,
        clause.level.value,
        clause.text,
        clause.since,
        TAKES[clause.takes],
        outcome.title,
        outcome.reason,
        outcome.seconds,
        outcome.where,
        outcome.notes,
        outcome.trace,
        outcome.rings,
        before.verdict.value if before else "",
        before.reason if before else "",
        difference.change.value if difference else "",
    )


def _compared(difference: Difference) -> Row:
    """A clause that only the first run has is shown as that run left it."""
    outcome = difference.after or difference.before
    if outcome is None:
        raise ValueError(f"{difference.clause} is in neither run")
    return _row(outcome, difference)


def _unchecked(run: Run) -> list[Row]:
    return [
        Row(one.id, UNCHECKED, one.level.value, one.text, one.since, TAKES[one.takes], reason=reason)
        for one, reason in ((CLAUSES[clause], reason) for clause, reason in run.unchecked.items())
    ]


def time_in_words(seconds: float) -> str:
    """``0.0123`` -> ``'12 ms'``."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.00095 else "<1 ms"
    return f"{seconds:.1f} s"
