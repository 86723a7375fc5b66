"""Does each check see its mutant? Runs the suite against NICs that break one clause each.

A mutant is proved when the check of its clause says FAIL (WARN for a SHOULD) on it, and the other checks of its
block do not, but for those that it breaks as a matter of course.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..soft.mutants import Mutant, all_mutants
from .check import Check
from .results import Outcome
from .runner import Runner
from .target import open_target
from .verdict import Verdict

BROKEN = (Verdict.FAIL, Verdict.WARN, Verdict.WEDGED)


@dataclass(frozen=True, slots=True)
class Proof:
    """How one mutant fared: ``seen`` by its own check, and whom it disturbed besides."""

    mutant: Mutant
    outcome: Outcome
    disturbed: tuple[str, ...]

    @property
    def proved(self) -> bool:
        """Its own check saw it, and only that."""
        return self.outcome.verdict in BROKEN and not self.disturbed


def self_test(checks: Iterable[Check]) -> Iterator[Proof]:
    """One proof for each of the checks that has a mutant."""
    known = list(checks)
    for check in known:
        mutant = all_mutants().get(check.clause.id)
        if mutant is not None:
            yield prove(mutant, check, [one for one in known if one.clause.block == check.clause.block])


def prove(mutant: Mutant, check: Check, block: Iterable[Check]) -> Proof:
    """Run a mutant's block on it."""
    others = [one for one in block if one is not check and one.clause.id not in mutant.also]
    device = f"soft:{mutant.options},mutant={mutant.clause}" if mutant.options else f"soft:mutant={mutant.clause}"
    with open_target(device) as target, Runner(target.function, target.wire, hooks=target.hooks) as runner:
        runner.calibrate()
        outcome = runner.run_one(check)
        disturbed = tuple(
            one.clause.id
            for one in (() if outcome.verdict is Verdict.WEDGED else others)
            if runner.run_one(one).verdict in BROKEN
        )
    return Proof(mutant, outcome, disturbed)
