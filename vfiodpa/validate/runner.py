"""Runs checks one after another, and brings the device back after each.

A check that fails costs its own verdict only; a device that cannot be brought back ends the run (WEDGED).
"""

from __future__ import annotations

import contextlib
import logging
import select
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from ..drivers.transport import check_present
from ..errors import DeviceGone, DriverBreach, Unsupported, UsageError, VfiodpaError
from ..pci.function import PciFunction
from ..spec.clauses import Clause
from ..spec.features import Feature
from ..trace.file import Subject
from ..trace.names import Names
from ..trace.replay import ReplayFunction
from ..trace.tail import Tail
from ..trace.traced import TracedFunction, innermost
from .bench import ANSWER_S, Bench, drop_memory, make_memory
from .check import Check
from .dump import dump_ring
from .hooks import NO_HOOKS, Hooks, no_hook
from .identity import describe, environment
from .interrupts import Signals, Stopped
from .results import Outcome, Run
from .verdict import Finding, NotApplicable, Refused, Suspicion, Verdict
from .wire import Wire

log = logging.getLogger(__name__)

PROBES = 5  # frames that tell how fast the device answers
GRACE_S = 2.0  # beyond a check's deadline, before it is cut short in whatever it does
RECOVERY_S = 30.0
WHO = ("vendor_id", "device_id", "subsystem_vendor_id", "subsystem_id")  # must not change when a run is resumed


class Runner:
    """``function`` and ``wire`` stay their opener's. ``packed``: the layout where a check does not say.

    ``answer``: seconds after which an answer does not come any more. A context manager: within it SIGINT and SIGTERM
    end a run, and what takes too long is cut short (interrupts.py).
    """

    def __init__(
        self,
        function: PciFunction,
        wire: Wire | None = None,
        *,
        packed: bool = False,
        hooks: Hooks = NO_HOOKS,
        answer: float = ANSWER_S,
    ) -> None:
        self._tail = Tail()
        self._names = partial(Names, Subject.of(function))
        traced = function if isinstance(function, TracedFunction) else TracedFunction(function, owns=False)
        traced.sinks.append(self._tail)
        self.function = traced
        self.wire = wire
        self.packed = packed
        self.answer = answer
        self.hooks = hooks
        self.latency = 0.0
        self.lost = False  # did a run end because the function failed, is gone, or is wanted back?
        self.signals = Signals()
        self._registers_only = isinstance(innermost(function), ReplayFunction)
        self.memory, self._read_only, self._write_only = make_memory(self.function)

    def close(self) -> None:
        """Leave the device reset, if it lets itself; unmap."""
        try:
            with self.signals.within(RECOVERY_S, "time is up for the last reset", stoppable=False):
                self._mark("end")
                self._bench(0.0).device.reset()
        except (VfiodpaError, Finding) as error:
            log.warning("%s", error)
        drop_memory(self.function, self.memory)
        self.function.sinks.remove(self._tail)

    def __enter__(self) -> Runner:
        self.signals.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.close()
        finally:
            self.signals.__exit__()

    def run(
        self,
        checks: Iterable[Check],
        profile: str,
        told: Callable[[Outcome], None] = lambda _outcome: None,
        *,
        before: Run | None = None,
        keep: Callable[[Run], None] = lambda _run: None,
    ) -> Run:
        """All ``checks``; ``told`` hears of each outcome as it comes.

        ``before``: a run that this one goes on with; what has an outcome there is not run again. ``keep`` gets the
        run before and after each check. It always returns: ``ended`` says what came before the last check.
        """
        begin = time.monotonic()
        run = before or Run(
            {}, environment(self.wire, packed=self.packed), profile, datetime.now(UTC).isoformat("T", "seconds")
        )
        earlier, run.ended = run.seconds, ""
        known = {outcome.clause for outcome in run.outcomes}
        run.ended = self._describe(run)
        for check in checks:
            if not run.ended:
                run.ended = self._in_the_way()
                self.lost = bool(run.ended) and not self.signals.asked
            if run.ended:
                break
            if check.clause.id not in known:
                run.running = check.clause.id
                keep(run)
                self._one(run, check, told)
            run.seconds = earlier + time.monotonic() - begin
        run.running = ""
        keep(run)
        return run

    def _describe(self, run: Run) -> str:
        """Fill in who is tested; returns what is in the way, or nothing."""
        run.device = run.device or {"name": self.function.name}
        try:
            with self.signals.within(RECOVERY_S, "asking the device who it is"):
                self._mark("identity")
                device = describe(self.function)
        except Stopped as stopped:
            return str(stopped)
        except (VfiodpaError, Finding) as error:
            return f"before the first check: {error}"
        other = [key for key in WHO if key in run.device and run.device[key] != device[key]]
        if other:
            key = other[0]
            raise UsageError("the run is of another device", cause=f"{key} {run.device[key]}, not {device[key]}")
        run.device = device
        return ""

    def _in_the_way(self) -> str:
        """Why no further check may begin; empty: nothing."""
        if self.signals.asked:
            return f"stopped by {self.signals.asked}"
        for event, why in (
            (self.function.error_event, "the function failed or is gone"),
            (self.function.release_event, "the kernel wants the function back"),
        ):
            if select.select([event], [], [], 0)[0]:
                known = self.function.diagnose()
                return f"{why}: {known}" if known else why
        try:
            check_present(self.function)
        except DeviceGone as error:
            return str(error)
        return ""

    def _one(self, run: Run, check: Check, told: Callable[[Outcome], None]) -> None:
        """One check of a run, whatever becomes of it."""
        try:
            outcome = self.run_one(check)
        except Stopped as stopped:
            run.ended = f"{stopped} during {check.clause.id}"
            return
        except Exception as error:
            log.exception("internal error in %s", check.where)
            run.ended = f"internal error in {check.clause.id}: {error!r}"
            return
        if outcome.verdict.bad and select.select([self.function.release_event], [], [], 0)[0]:
            # From then on the kernel refuses function resets (EAGAIN): that is not the device's fault.
            run.ended, self.lost = f"the kernel wants the function back, since {check.clause.id}", True
            return
        run.outcomes.append(outcome)
        told(outcome)
        if outcome.verdict is Verdict.WEDGED and not self._power_cycled():
            run.ended = f"after {check.clause.id}: {outcome.reason}"

    def _power_cycled(self) -> bool:
        """The last resort, where a hook has it: did the device come back?"""
        if self.hooks.power is None:
            return False
        log.warning("%s: power off and on", self.function.name)
        try:
            self.hooks.power()
            bench = self._bench(0.0)
        except (VfiodpaError, Finding) as error:
            log.warning("%s", error)
            return False
        try:
            lost = self._recover(bench, prove=True)
        finally:
            bench.close()
        return not lost

    def run_one(self, check: Check) -> Outcome:
        """One check, then recovery."""
        begin = time.monotonic()
        try:
            self._mark(check.clause.id)
            if self.wire is not None:
                self.wire.drain()  # frames of earlier checks; where they pile up, those of this one are lost
            bench = self._bench(begin + check.deadline)
        except Unsupported as error:
            return self._outcome(check, Verdict.SKIP, str(error))
        except (VfiodpaError, Finding) as error:
            return self._outcome(check, Verdict.WEDGED, f"the check could not begin: {error}")
        self._tail.clear()  # a new bench looks for the structures; that says nothing of the check
        trace: tuple[str, ...] = ()
        rings: tuple[str, ...] = ()
        try:
            verdict, reason = self._judge(check, bench)
            seconds = time.monotonic() - begin
            if verdict not in (Verdict.PASS, Verdict.SKIP, Verdict.INFO):
                trace, rings = tuple(self._tail.lines(self._names())), _rings(bench)
            bench.deadline = 0.0
            lost = self._recover(bench, prove=check.rude or verdict.bad)
        finally:
            bench.close()
        if lost:
            reason = f"{lost} (the check itself: {verdict.value}{': ' if reason else ''}{reason})"
            verdict = Verdict.WEDGED
        outcome = self._outcome(check, verdict, reason)
        return replace(outcome, notes=tuple(bench.notes), trace=trace, rings=rings, seconds=round(seconds, 6))

    def _outcome(self, check: Check, verdict: Verdict, reason: str) -> Outcome:
        return Outcome(check.clause.id, verdict, reason, check.title, check.where)

    def _mark(self, part: str) -> None:
        """For recordings: what follows belongs to it."""
        self.function.mark(part)

    def _bench(self, deadline: float) -> Bench:
        return Bench(
            self.function,
            self.memory,
            self._read_only,
            self._write_only,
            self.wire,
            latency=self.latency,
            answer=self.answer,
            packed=self.packed,
            deadline=deadline,
            hooks=self.hooks,
            registers_only=self._registers_only,
        )

    def _needs(self, check: Check, bench: Bench) -> None:
        """Raise ``NotApplicable`` where there is not what the check takes."""
        bench.needs(*Feature(check.features))
        if check.wire and self.wire is None:
            raise NotApplicable("nobody is at the other end of the wire (--wire)")
        if check.hook and not self.hooks.has(check.hook):
            raise NotApplicable(no_hook(check.hook))

    def _judge(self, check: Check, bench: Bench) -> tuple[Verdict, str]:
        """What the check says, as a verdict with its reason."""
        clause = check.clause
        try:
            self._needs(check, bench)
            with self.signals.within(check.deadline + GRACE_S, "time is up, in a call that does not look at the clock"):
                check.run(bench)
        except (Finding, VfiodpaError, ValueError, LookupError, ArithmeticError) as found:
            return self._verdict(check, found)
        return (Verdict.PASS if clause.level.binding or clause.takes.value != "N" else Verdict.INFO), ""

    def _verdict(self, check: Check, found: Exception) -> tuple[Verdict, str]:
        """What it means that a check ended so."""
        if isinstance(found, NotApplicable | Unsupported):
            return Verdict.SKIP, str(found)
        if isinstance(found, Refused):
            return Verdict.REJECT, str(found)
        if isinstance(found, Suspicion):
            return Verdict.WARN, str(found)
        if isinstance(found, DriverBreach):
            raise found  # the check's own fault: only the software NIC says so
        if isinstance(found, Finding | VfiodpaError):
            return _failed(check.clause), str(found)
        log.warning("%s: the check stumbled", check.where, exc_info=found)
        return _failed(check.clause), f"the check stumbled over what the device said: {found!r}"

    def _recover(self, bench: Bench, *, prove: bool) -> str:
        """Bring the device back; with ``prove`` see that it works. Returns what is in the way, or nothing."""
        try:
            check_present(self.function)
            if not bench.touched:
                return ""
            with self.signals.within(RECOVERY_S, "time is up for the recovery", stoppable=False):
                self._reset(bench)
                if prove and not self._registers_only:
                    prove_traffic(bench)
                    bench.device.reset()
        except (VfiodpaError, Finding) as error:
            return f"the device did not come back: {error}"
        return ""

    def _reset(self, bench: Bench) -> None:
        """Of the device; of the function, when that does not do."""
        try:
            bench.device.reset()
        except DeviceGone:
            raise
        except VfiodpaError as error:
            log.warning("%s; resetting the function", error)
            bench.reset_function()
            bench.device.reset()

    def calibrate(self) -> float:
        """Measure how long the device takes from doorbell to used buffer (seconds); what silences are made of.

        0 when it does not transmit at all: that is for the checks to say.
        """
        if self._registers_only:
            return self.latency
        self._mark("calibration")
        try:
            bench = self._bench(time.monotonic() + 10)
        except VfiodpaError as error:
            log.warning("%s", error)
            return self.latency
        try:
            with self.signals.within(RECOVERY_S, "time is up"):
                self.latency = statistics.median(prove_traffic(bench, PROBES))
                bench.device.reset()
        except (VfiodpaError, Finding) as finding:
            log.warning("%s: the device does not transmit: %s", self.function.name, finding)
        except Stopped as stopped:
            log.warning("%s", stopped)  # the run will say so
        finally:
            bench.close()
        return self.latency


def prove_traffic(bench: Bench, frames: int = 1) -> list[float]:
    """Bring the device up anew and transmit: seconds that each frame took. Raises what stands in the way."""
    bench.start(queues=(0, 1))
    took = []
    for _ in range(frames):
        begin = time.monotonic()
        bench.send(bench.ring(1))
        bench.wait_used(bench.ring(1))
        took.append(time.monotonic() - begin)
    return took


def _failed(clause: Clause) -> Verdict:
    return Verdict.FAIL if clause.level.binding or clause.level.value == "note" else Verdict.WARN


def _rings(bench: Bench) -> tuple[str, ...]:
    """The enabled rings as they stand, for the report of a failure."""
    found = []
    for _, ring in sorted(bench.device.rings.items() if bench.touched else ()):
        with contextlib.suppress(VfiodpaError):  # a check may have put a ring where nothing is
            found.append(dump_ring(ring))
    return tuple(found)
