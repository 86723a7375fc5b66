"""The conformance suite as pytest tests: one for each check, on the device of ``--device``.

``vfiodpa validate`` runs the same checks and writes reports; this is for who lives in pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vfiodpa.validate.check import Check, all_checks
from vfiodpa.validate.profiles import NIC_TODAY, of_profile
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Verdict
from vfiodpa.vdpa.devices import Access

CHECKS = of_profile(all_checks().values(), NIC_TODAY)
UNDECIDED = (Verdict.SKIP, Verdict.REJECT)


@pytest.fixture(scope="module")
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """The software NIC gets a wire with a peer, whatever port hwtests/device uses."""
    device: str = request.config.getoption("--device")
    if device == "soft:port=echo":
        device = "soft"
    with (
        open_target(device, Access(iommu=request.config.getoption("--iommu"))) as target,
        Runner(target.function, target.wire, hooks=target.hooks) as opened,
    ):
        opened.calibrate()
        yield opened


@pytest.fixture(scope="module")
def wedged() -> list[str]:
    """The clause after which the device did not come back."""
    return []


@pytest.mark.parametrize("check", CHECKS, ids=[check.clause.id for check in CHECKS])
def test_clause(
    check: Check, runner: Runner, wedged: list[str], record_property: Callable[[str, object], None]
) -> None:
    if wedged:
        pytest.skip(f"the device did not come back after {wedged[0]}")
    outcome = runner.run_one(check)
    record_property("verdict", outcome.verdict.value)
    for note in outcome.notes:
        record_property("note", note)
    if outcome.verdict is Verdict.WEDGED:
        wedged.append(check.clause.id)
    if outcome.verdict.bad:
        evidence = "\n".join([*outcome.trace, *outcome.rings])
        pytest.fail(f"{check.clause.level.value}: {check.clause.text}\n{outcome.reason}\n\n{evidence}", pytrace=False)
    if outcome.verdict is Verdict.WARN:
        pytest.xfail(f"{check.clause.level.value}: {outcome.reason}")
    if outcome.verdict in UNDECIDED:
        pytest.skip(outcome.reason)
