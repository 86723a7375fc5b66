"""The checks of the network device: the software NIC passes them, and each sees its mutant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfiodpa.soft.mutants import all_mutants
from vfiodpa.soft.mutants.net import MUTANTS
from vfiodpa.validate.check import all_checks
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.selftest import BROKEN
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Verdict

CLAUSES = [mutant.clause for mutant in MUTANTS]
IMPATIENT_S = 0.3  # a mutant's answer that does not come is what we wait for


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with open_target("soft") as target, Runner(target.function, target.wire) as runner:
        yield runner


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_software_nic_passes(runner: Runner, clause: str) -> None:
    outcome = runner.run_one(all_checks()[clause])
    assert outcome.verdict is Verdict.PASS, outcome.reason


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_check_sees_its_mutant(clause: str) -> None:
    mutant = all_mutants()[clause]
    with (
        open_target(f"soft:mutant={clause}") as target,
        Runner(target.function, target.wire, answer=IMPATIENT_S) as runner,
    ):
        runner.calibrate()
        outcome = runner.run_one(all_checks()[clause])
    assert outcome.verdict in BROKEN, f"{mutant.does}: {outcome.verdict.value} {outcome.reason}"
    assert outcome.verdict is not Verdict.WEDGED, outcome.reason


PACKED = (
    "N-TX-7",
    "N-TX-10",
    "N-RX-16",
    "N-RX-21",
    "N-RX-22",
    "N-RX-2",
    "N-RX-5",
    "N-RX-24",
    "N-RXF-7",
    "N-VLAN-3",
    "N-MQ-4",
    "N-RSS-1",
    "N-STAT-5",
    "U-7",
)


@pytest.mark.parametrize("clause", PACKED)
def test_the_software_nic_passes_with_packed_rings(clause: str) -> None:
    with open_target("soft") as target, Runner(target.function, target.wire, packed=True) as runner:
        outcome = runner.run_one(all_checks()[clause])
    assert outcome.verdict is Verdict.PASS, outcome.reason
