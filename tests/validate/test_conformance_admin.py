"""The checks of administration, resource objects and the flow filter: the software NIC passes, each sees its mutant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfiodpa.soft import admin as soft_admin
from vfiodpa.soft.flow_filter import DEVICE
from vfiodpa.soft.mutants import admin, all_mutants, flow_filter, objects
from vfiodpa.spec.virtio_flow_filter import FfCapability, FfResources
from vfiodpa.validate.check import all_checks
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.selftest import prove
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Verdict

CLAUSES = [mutant.clause for table in (admin, objects, flow_filter) for mutant in table.MUTANTS]


@pytest.fixture(scope="module", params=[False, True], ids=["split", "packed"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    with (
        open_target("soft") as target,
        Runner(target.function, target.wire, packed=request.param, hooks=target.hooks) as runner,
    ):
        yield runner


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_software_nic_passes(runner: Runner, clause: str) -> None:
    outcome = runner.run_one(all_checks()[clause])
    assert outcome.verdict is Verdict.PASS, outcome.reason


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_check_sees_its_mutant(clause: str) -> None:
    proof = prove(all_mutants()[clause], all_checks()[clause], ())  # its block is for `validate --self-test`
    assert proof.proved, proof.outcome.reason
    assert proof.outcome.verdict is not Verdict.WEDGED, proof.outcome.reason


FRAMES = [f"N-FF-{number}" for number in (*range(10, 17), *range(18, 21))]


def test_the_flow_filter_is_in_front_of_automatic_steering_too() -> None:
    with open_target("soft:off=rss") as target, Runner(target.function, target.wire) as runner:
        for clause in FRAMES:
            outcome = runner.run_one(all_checks()[clause])
            assert outcome.verdict is Verdict.PASS, f"{clause}: {outcome.reason}"


def test_with_one_pair_there_is_nowhere_to_direct_to() -> None:
    with open_target("soft:queues=1") as target, Runner(target.function, target.wire) as runner:
        verdicts = {runner.run_one(all_checks()[clause]).verdict for clause in FRAMES}
    assert verdicts == {Verdict.SKIP}


@pytest.mark.parametrize("device", ["soft:admin=off", "soft:workers=2"])
def test_without_a_flow_filter_nothing_is_said_of_it(device: str) -> None:
    with open_target(device) as target, Runner(target.function, target.wire) as runner:
        for clause in ("CAP-2", "OBJ-1", "N-FF-1", "N-FF-2"):
            outcome = runner.run_one(all_checks()[clause])
            assert outcome.verdict is Verdict.SKIP, outcome.reason


LIMITS = {
    "many": {"groups_limit": 0xFFFF_FFFF, "classifiers_limit": 0xFFFF_FFFF},
    "one": {"groups_limit": 1, "classifiers_limit": 1, "rules_limit": 1, "rules_per_group_limit": 1},
    "two priorities": {"last_rule_priority": 2},
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_no_device_is_blamed_for_its_limits(monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]) -> None:
    """The software NIC's are comfortable; others have what they have."""
    usual = FfResources.unpack(DEVICE[FfCapability.RESOURCE]).values
    resources = FfResources(**{**usual, **limits}).pack()
    monkeypatch.setattr(soft_admin, "DEVICE", {**DEVICE, FfCapability.RESOURCE: resources})
    with open_target("soft") as target, Runner(target.function, target.wire, hooks=target.hooks) as runner:
        for clause in [mutant.clause for mutant in (*objects.MUTANTS, *flow_filter.MUTANTS)]:
            outcome = runner.run_one(all_checks()[clause])
            fair = outcome.verdict in (Verdict.PASS, Verdict.SKIP, Verdict.REJECT)
            assert fair, f"{clause}: {outcome.verdict.value}, {outcome.reason}"
