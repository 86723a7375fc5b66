"""Two runs side by side: one NIC's firmware against the next, or NIC against NIC."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from ...spec.clauses import CLAUSES
from ..results import Outcome, Run, clause_facts
from ..verdict import Verdict

SCHEMA = "vfiodpa.validate.compare/1"
# Verdicts that say something of the device, from good to bad; the others say that nothing was found out.
RANK = {Verdict.INFO: 0, Verdict.PASS: 0, Verdict.WARN: 1, Verdict.FAIL: 2, Verdict.WEDGED: 3}
FACTS = ("vendor_id", "device_id", "subsystem_vendor_id", "subsystem_id", "revision", "queues", "vectors", "iommu")


class Change(Enum):
    """How a clause fared in the second run, seen from the first."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"  # from a verdict to none (skipped, refused), or the other way round
    NEW = "new"  # only in the second run
    GONE = "gone"  # only in the first run
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Difference:
    """One clause in both runs."""

    clause: str
    before: Outcome | None
    after: Outcome | None

    @property
    def change(self) -> Change:
        """What became of it."""
        if self.before is None:
            return Change.NEW
        if self.after is None:
            return Change.GONE
        was, now = self.before.verdict, self.after.verdict
        if was is now:
            return Change.SAME
        if was not in RANK or now not in RANK:
            return Change.CHANGED
        if RANK[was] == RANK[now]:
            return Change.SAME
        return Change.WORSE if RANK[now] > RANK[was] else Change.BETTER

    def to_json(self) -> dict[str, Any]:
        """With the clause's own fields."""
        return {
            "clause": self.clause,
            "change": self.change.value,
            "before": _one(self.before),
            "after": _one(self.after),
            **clause_facts(self.clause),
        }


def _one(outcome: Outcome | None) -> dict[str, str] | None:
    return {"verdict": outcome.verdict.value, "reason": outcome.reason} if outcome else None


@dataclass(frozen=True)
class Comparison:
    """``before`` and ``after`` by clause, and what differs between the devices."""

    before: Run
    after: Run

    @cached_property
    def differences(self) -> list[Difference]:
        """Every clause of either run, in the order of the clause table."""
        first = {one.clause: one for one in self.before.outcomes}
        second = {one.clause: one for one in self.after.outcomes}
        return [
            Difference(clause, first.get(clause), second.get(clause))
            for clause in CLAUSES
            if clause in first or clause in second
        ]

    @property
    def changed(self) -> list[Difference]:
        """Those that are not the same, the worst first."""
        order = list(Change)
        found = [one for one in self.differences if one.change is not Change.SAME]
        return sorted(found, key=lambda one: order.index(one.change))

    @property
    def counts(self) -> dict[str, int]:
        """How many of each change."""
        counted = Counter(one.change for one in self.differences)
        return {change.value: counted[change] for change in Change}

    @property
    def worse(self) -> bool:
        """Is anything worse in the second run, or did it end early where the first did not?"""
        return bool(self.counts["worse"]) or bool(self.after.ended and not self.before.ended)

    @property
    def features(self) -> tuple[list[str], list[str]]:
        """Features that only the second device offers, and those that only the first does."""
        first, second = self.before.device.get("features", []), self.after.device.get("features", [])
        return [one for one in second if one not in first], [one for one in first if one not in second]

    @property
    def facts(self) -> list[tuple[str, str, str]]:
        """Facts of the devices and of the runs that differ: name, before, after."""
        first, second = self.before, self.after
        pairs = [(name, first.device.get(name, ""), second.device.get(name, "")) for name in FACTS]
        config = {**first.device.get("config", {}), **second.device.get("config", {})}
        pairs += [
            (name, *(run.device.get("config", {}).get(name, "") for run in (first, second))) for name in sorted(config)
        ]
        pairs += [(name, first.environment.get(name, ""), second.environment[name]) for name in second.environment]
        pairs.append(("profile", first.profile, second.profile))
        return [(name.replace("_", " "), str(was), str(now)) for name, was, now in pairs if was != now]

    def to_json(self) -> dict[str, Any]:
        """All that changed."""
        added, removed = self.features
        return {
            "schema": SCHEMA,
            "before": _head(self.before),
            "after": _head(self.after),
            "counts": self.counts,
            "worse": self.worse,
            "features_added": added,
            "features_removed": removed,
            "facts": [{"name": name, "before": was, "after": now} for name, was, now in self.facts],
            "differences": [one.to_json() for one in self.changed],
        }


def _head(run: Run) -> dict[str, Any]:
    return {"name": run.device.get("name", ""), "started": run.started, "counts": run.counts, "ended": run.ended}
