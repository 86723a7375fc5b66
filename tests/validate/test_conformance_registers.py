"""The checks of the PCI transport and of what registers show: the software NIC passes, and each sees its mutant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfiodpa.soft.mutants import all_mutants, basic, net_config, pci, pci_registers, suspend
from vfiodpa.validate.check import all_checks
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.selftest import prove
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Verdict

CLAUSES = [mutant.clause for table in (basic, pci, pci_registers, net_config, suspend) for mutant in table.MUTANTS]
# What the software NIC does not have; their mutants add it, and the check of one passes on the other's.
LACKING = {"RFB-9", "P-SHM-1", "P-SHM-2", "P-VND-3", "P-VND-4", "P-VND-5", "X-2"}
SHORT_BELLS = ["P-NTF-2", "P-NTF-3", "P-NTF-4", "P-NTF-5"]


@pytest.fixture(scope="module", params=[False, True], ids=["split", "packed"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    with (
        open_target("soft") as target,
        Runner(target.function, target.wire, packed=request.param, hooks=target.hooks) as runner,
    ):
        yield runner


@pytest.mark.parametrize("clause", [clause for clause in CLAUSES if clause not in SHORT_BELLS])
def test_the_software_nic_passes(runner: Runner, clause: str) -> None:
    outcome = runner.run_one(all_checks()[clause])
    assert outcome.verdict is (Verdict.SKIP if clause in LACKING else Verdict.PASS), outcome.reason


@pytest.mark.parametrize("clause", SHORT_BELLS)
def test_it_passes_with_16_bit_doorbells(clause: str) -> None:
    with open_target("soft:off=notification_data") as target, Runner(target.function, target.wire) as runner:
        outcome = runner.run_one(all_checks()[clause])
    assert outcome.verdict is Verdict.PASS, outcome.reason


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_check_sees_its_mutant(clause: str) -> None:
    proof = prove(all_mutants()[clause], all_checks()[clause], ())  # its block is for `validate --self-test`
    assert proof.proved, proof.outcome.reason
    assert proof.outcome.verdict is not Verdict.WEDGED, proof.outcome.reason
