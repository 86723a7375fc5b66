"""What interrupts a check or a run: time that is up, and signals."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.validate.validate_rig import MUST, OTHER, SHOULD, a_runner, fine, make_check
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.validate import runner as runner_module
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.interrupts import Signals, Stopped
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Overdue, Verdict


def test_a_check_that_never_looks_at_the_clock_is_cut_short(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleeps(_bench: Bench) -> None:
        time.sleep(30)

    monkeypatch.setattr(runner_module, "GRACE_S", 0.05)
    begin = time.monotonic()
    outcome = runner.run_one(make_check(sleeps, deadline=0.05))
    assert time.monotonic() - begin < 10
    assert (outcome.verdict, outcome.reason.partition(",")[0]) == (Verdict.FAIL, "time is up")


def test_an_alarm_that_was_swallowed_rings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfiodpa.validate.interrupts.AGAIN_S", 0.05)
    rung = 0
    with Signals() as signals, pytest.raises(Overdue), signals.within(0.05, "late"):
        try:
            time.sleep(5)
        except Overdue:
            rung += 1
        time.sleep(5)
    assert rung == 1


def test_somebody_elses_alarm_still_rings() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    left, again = signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with Signals() as signals, signals.within(5, "late"):
            pass
        time.sleep(0.3)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left, again)  # pytest-timeout's
    assert rung == [1]


def test_in_another_thread_nothing_is_cut_short() -> None:
    done: list[int] = []

    def work() -> None:
        with Signals() as signals, signals.within(0.001, "late"):
            time.sleep(0.01)
        done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_resets_the_device(number: signal.Signals) -> None:
    def interrupted(bench: Bench) -> None:
        bench.start()
        os.kill(os.getpid(), number)
        time.sleep(5)

    with open_target("soft") as target:
        with Runner(target.function) as runner:
            run = runner.run([make_check(fine), make_check(interrupted, OTHER), make_check(fine, SHOULD)], "1.3")
        assert isinstance(target.function, SoftFunction)
        assert target.function.device.state.status == DeviceStatus(0)
    assert [one.clause for one in run.outcomes] == [MUST]
    assert run.ended == f"stopped by {number.name} during {OTHER}"


def test_between_checks_a_signal_waits_for_its_turn() -> None:
    with a_runner() as runner:
        run = runner.run(
            [make_check(fine), make_check(fine, OTHER)], "1.3", lambda _outcome: os.kill(os.getpid(), signal.SIGTERM)
        )
    assert (len(run.outcomes), run.ended) == (1, "stopped by SIGTERM")


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        with pytest.raises(Stopped), signals.within(1, ""):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        assert signals.asked == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
