"""Verdicts: what a check raises, and what becomes of the device afterwards."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import cast

import pytest

from tests.validate.validate_rig import MAY, MUST, SHOULD, a_runner, make_check
from vfiodpa.errors import DeviceError, DriverBreach, Unsupported
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.validate import runner as runner_module
from vfiodpa.validate.bench import RX, TX, Bench
from vfiodpa.validate.results import Outcome
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.verdict import Deviation, NotApplicable, Refused, Verdict


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[Bench]:
    """The benches on which recovery was proved."""
    found: list[Bench] = []
    proper = runner_module.prove_traffic

    def prove(bench: Bench) -> list[float]:
        found.append(bench)
        return proper(bench)

    monkeypatch.setattr(runner_module, "prove_traffic", prove)
    return found


def nothing(bench: Bench) -> None:
    """A device that does right."""
    bench.device.reset()  # a check that never looks at the device leaves nothing to bring back


def raising(error: Exception) -> Callable[..., None]:
    def run(bench: Bench, *_more: object) -> None:
        bench.device.reset()
        raise error

    return run


def verdict_of(runner: Runner, error: Exception, clause: str = MUST) -> tuple[Verdict, str]:
    outcome = runner.run_one(make_check(raising(error), clause))
    return outcome.verdict, outcome.reason


# What a check raises


def test_a_check_that_returns_has_passed(runner: Runner) -> None:
    outcome = runner.run_one(make_check(nothing))
    assert (outcome.verdict, outcome.reason, outcome.trace, outcome.rings) == (Verdict.PASS, "", (), ())
    assert outcome.title == "A device that does right."
    assert re.fullmatch(r".*test_validate_runner\.py:\d+", outcome.where)


@pytest.mark.parametrize(("clause", "verdict"), [(MUST, Verdict.FAIL), (SHOULD, Verdict.WARN), (MAY, Verdict.WARN)])
def test_a_deviation_weighs_as_much_as_its_clause(runner: Runner, clause: str, verdict: Verdict) -> None:
    assert verdict_of(runner, Deviation("it did not"), clause) == (verdict, "it did not")


def test_a_permission_is_recorded(runner: Runner) -> None:
    assert runner.run_one(make_check(nothing, MAY)).verdict is Verdict.INFO


def test_refusals_and_skips_have_their_reason(runner: Runner) -> None:
    assert verdict_of(runner, Refused("no such vector")) == (Verdict.REJECT, "no such vector")
    assert verdict_of(runner, NotApplicable("one queue only")) == (Verdict.SKIP, "one queue only")
    assert verdict_of(runner, Unsupported("it has no reset"))[0] is Verdict.SKIP


def test_an_error_of_the_device_is_its_failure(runner: Runner) -> None:
    assert verdict_of(runner, DeviceError("it is stuck")) == (Verdict.FAIL, "it is stuck")


def test_a_fault_of_the_check_is_not_blamed_on_the_device(runner: Runner) -> None:
    with pytest.raises(DriverBreach):
        verdict_of(runner, DriverBreach("a write to a register that is read-only"))
    with pytest.raises(TypeError):
        verdict_of(runner, TypeError())


def test_a_check_that_stumbles_fails_nothing_silently(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    verdict, reason = verdict_of(runner, ZeroDivisionError("by what the device said"))
    assert (verdict, "ZeroDivisionError" in reason) == (Verdict.FAIL, True)
    assert "the check stumbled" in caplog.text


def test_a_feature_that_is_not_offered_skips(runner: Runner) -> None:
    outcome = runner.run_one(make_check(nothing, features=Feature.NET_STANDBY))
    assert (outcome.verdict, outcome.reason) == (Verdict.SKIP, "the device does not offer NET_STANDBY")


def test_without_a_wire_peer_a_check_that_wants_one_is_skipped() -> None:
    with a_runner("soft:port=discard") as runner:
        outcome = runner.run_one(make_check(nothing, wire=True))
    assert (outcome.verdict, "--wire" in outcome.reason) == (Verdict.SKIP, True)


# Time


def test_a_check_that_waits_for_ever_fails_at_its_deadline(runner: Runner) -> None:
    def run(bench: Bench) -> None:
        bench.wait(lambda: False, "for something that never comes", timeout=60)

    begin = time.monotonic()
    outcome = runner.run_one(make_check(run, deadline=0.05))
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "time is up: for something that never comes")
    assert time.monotonic() - begin < 5


def test_a_deadline_is_the_checks_and_not_the_recoverys(runner: Runner, proofs: list[Bench]) -> None:
    def run(bench: Bench) -> None:
        bench.start()
        bench.wait(lambda: False, "never", 60)

    outcome = runner.run_one(make_check(run, deadline=0.05))
    assert outcome.verdict is Verdict.FAIL
    assert [bench.deadline for bench in proofs] == [0.0]


# Recovery


@pytest.mark.parametrize(("rude", "proved"), [(False, 0), (True, 1)])
def test_recovery_is_proved_after_rude_checks(runner: Runner, proofs: list[Bench], rude: bool, proved: int) -> None:
    assert runner.run_one(make_check(nothing, rude=rude)).verdict is Verdict.PASS
    assert len(proofs) == proved


def test_recovery_is_proved_after_a_failure(runner: Runner, proofs: list[Bench]) -> None:
    verdict_of(runner, Deviation("no"))
    assert len(proofs) == 1


def test_the_next_check_finds_a_device_that_was_reset(runner: Runner) -> None:
    seen: list[DeviceStatus] = []
    runner.run_one(make_check(lambda bench: bench.start()))
    runner.run_one(make_check(lambda bench: seen.append(bench.device.status)))
    assert seen == [DeviceStatus(0)]


def test_a_device_that_ignores_a_reset_is_brought_back_by_one_of_the_function() -> None:
    with a_runner() as runner:
        soft = cast("SoftFunction", runner.function.inner)
        proper = soft.reset
        resets: list[str] = []

        def reset() -> None:
            resets.append("reset")
            proper()

        soft.reset = reset  # type: ignore[method-assign]

        def run(bench: Bench) -> None:
            bench.device.reset = fail_once  # type: ignore[method-assign]

        def fail_once(timeout: float = 0) -> float:
            raise DeviceError("device_status stays 0x0f")

        outcome = runner.run_one(make_check(run))
    assert (outcome.verdict, resets[:1]) == (Verdict.PASS, ["reset"])


def test_a_device_that_does_not_come_back_ends_the_run(runner: Runner) -> None:
    soft = cast("SoftFunction", runner.function.inner)

    def run(bench: Bench) -> None:
        bench.start()
        soft.unplug()

    told: list[Outcome] = []
    checks = [make_check(nothing), make_check(run, "FEAT-1"), make_check(nothing, "FEAT-2")]
    found = runner.run(checks, "nic-today", told.append)
    assert [one.verdict for one in found.outcomes] == [Verdict.PASS, Verdict.WEDGED]
    assert found.ended.startswith("after FEAT-1: the device did not come back")
    assert (found.passed, told) == (False, found.outcomes)


def test_a_wedged_device_still_has_the_verdict_of_its_check(runner: Runner) -> None:
    def run(bench: Bench) -> None:
        bench.start()
        cast("SoftFunction", runner.function.inner).unplug()
        raise Deviation("and it smoked")

    assert "(the check itself: fail: and it smoked)" in runner.run_one(make_check(run)).reason


def test_a_device_that_does_not_transmit_can_still_be_run(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner_module, "prove_traffic", raising(Deviation("queue 1 used 0 of 1 buffers")))
    assert runner.calibrate() == 0.0
    assert "does not transmit" in caplog.text


# Evidence


def failing_with_traffic(bench: Bench) -> None:
    bench.start()
    bench.send(bench.ring(TX))
    bench.wait_used(bench.ring(TX))
    bench.note("a word")
    bench.show("the frame", bench.alloc(16, b"abc"), 16)
    bench.must(False, "wrong")


@pytest.mark.parametrize("packed", [False, True])
def test_a_failure_carries_registers_by_name_and_the_rings(packed: bool) -> None:
    with a_runner(packed=packed) as runner:
        outcome = runner.run_one(make_check(failing_with_traffic))
    last = [line.split() for line in outcome.trace]
    assert last[-1] == ["write", "notify+0x4", "0x0001", "queue", "1"]
    status = [line for line in last if line[:2] == ["write", "common.device_status"]][-1]
    assert {"DRIVER_OK", "FEATURES_OK"} <= set(status)
    layout = "packed" if packed else "split"
    assert [ring.splitlines()[0] for ring in outcome.rings] == [f"queue {q}, {layout}, 256 entries" for q in (RX, TX)]
    assert "desc[0]" in outcome.rings[1]
    assert outcome.notes[0] == "a word"
    assert outcome.notes[1].startswith("the frame:\n") and "61 62 63" in outcome.notes[1]


def test_a_run_says_who_and_where(runner: Runner) -> None:
    found = runner.run([], "1.2")
    device = found.device
    assert (device["vendor_id"], device["device_id"], found.profile) == ("1af4", "1041", "1.2")
    names = [part["name"] for bar in device["bars"] for part in bar["structures"]]
    assert sorted(names) == ["common", "isr", "net", "notify"]
    assert any(one["detail"].startswith("common: BAR 0") for one in device["capabilities"])
    assert device["config"]["mtu"] == 1500
    assert (found.environment["rings"], "software NIC" in found.environment["wire"]) == ("split", True)
    assert device["problems"] == []
