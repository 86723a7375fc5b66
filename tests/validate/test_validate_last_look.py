"""Who loses the processor for a whole wait looks once more: what came meanwhile came in time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vfiodpa.soft.mutants import mutant_of
from vfiodpa.validate import bench, wires
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.check import Check, all_checks
from vfiodpa.validate.results import Outcome
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.selftest import prove
from vfiodpa.validate.verdict import Deviation
from vfiodpa.validate.wire import Heard
from vfiodpa.validate.wires import SoftWire

HEARD = Heard(b"frame", None)


class Clock:
    """Between the first time that somebody asks it and the second an hour passes, in which something happens."""

    def __init__(self) -> None:
        self.asked = 0

    def monotonic(self) -> float:
        self.asked += 1
        return 0.0 if self.asked == 1 else 3600.0

    def sleep(self, _seconds: float) -> None:
        """No more happens."""

    @property
    def happened(self) -> int:
        return int(self.asked > 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (bench, wires):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def idle() -> Bench:
    nothing: Any = None
    return Bench(nothing, nothing, nothing, nothing)


def test_an_answer_that_came_is_not_missing(clock: Clock, idle: Bench) -> None:
    assert idle.wait(lambda: clock.happened, "an answer")


def test_a_silence_that_was_broken_is_none(clock: Clock, idle: Bench) -> None:
    with pytest.raises(Deviation, match="it spoke"):
        idle.still(lambda: clock.happened, "it spoke")


def test_a_frame_that_came_is_heard(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ring(SimpleNamespace):
        seen = 0

        @property
        def used_idx(self) -> int:
            return clock.happened

    wire: Any = SoftWire.__new__(SoftWire)
    wire._rx = [Ring()]
    monkeypatch.setattr(SoftWire, "_take", lambda _wire, _ring: HEARD)
    assert wire.receive() is HEARD


def test_the_self_test_measures_a_mutant_before_it_judges_silences(monkeypatch: pytest.MonkeyPatch) -> None:
    latencies = []
    real = Runner.run_one

    def run_one(runner: Runner, check: Check) -> Outcome:
        latencies.append(runner.latency)
        return real(runner, check)

    monkeypatch.setattr(Runner, "run_one", run_one)
    assert prove(mutant_of("ADC-2"), all_checks()["ADC-2"], []).proved
    assert latencies
    assert all(latencies)
