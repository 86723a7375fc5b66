"""The checks of virtqueues: the software NIC passes them with either layout, and each sees its mutant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfiodpa.soft.mutants import all_mutants
from vfiodpa.soft.mutants.rings import MUTANTS
from vfiodpa.validate.check import all_checks
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.selftest import BROKEN
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Verdict

CLAUSES = [mutant.clause for mutant in MUTANTS]
FINE = (Verdict.PASS, Verdict.INFO)
IMPATIENT_S = 0.3  # a mutant's answer that does not come is what we wait for


@pytest.fixture(scope="module", params=[False, True], ids=["split", "packed"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    with open_target("soft") as target, Runner(target.function, target.wire, packed=request.param) as runner:
        yield runner


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_software_nic_passes(runner: Runner, clause: str) -> None:
    outcome = runner.run_one(all_checks()[clause])
    assert outcome.verdict in FINE, outcome.reason


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_check_sees_its_mutant(clause: str) -> None:
    mutant = all_mutants()[clause]
    with (
        open_target(f"soft:mutant={clause}") as target,
        Runner(target.function, target.wire, answer=IMPATIENT_S) as runner,
    ):
        runner.calibrate()
        outcome = runner.run_one(all_checks()[clause])
    assert outcome.verdict in BROKEN, mutant.does
    assert outcome.verdict is not Verdict.WEDGED, outcome.reason
