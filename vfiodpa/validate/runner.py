"""Runs checks one after another, and brings the device back after each.

A check that fails costs its own verdict only; a device that cannot be brought back ends the run (WEDGED).
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from ..errors import DeviceGone, DriverBreach, Unsupported, VfiodpaError
from ..pci.function import PciFunction
from ..spec.clauses import Clause
from ..spec.features import Feature
from .bench import ANSWER_S, Bench, drop_memory, make_memory
from .check import Check
from .decode import Decoder
from .dump import dump_ring
from .identity import describe, environment
from .results import Outcome, Run
from .trace import Tail, TracedFunction
from .verdict import Deviation, Finding, NotApplicable, Overdue, Refused, Verdict
from .wire import Wire

log = logging.getLogger(__name__)

PROBES = 5  # frames that tell how fast the device answers


class Runner:
    """``function`` and ``wire`` stay their opener's. ``packed``: the layout where a check does not say.

    ``answer``: seconds after which an answer does not come any more.
    """

    def __init__(
        self, function: PciFunction, wire: Wire | None = None, *, packed: bool = False, answer: float = ANSWER_S
    ) -> None:
        self._tail = Tail()
        self._decoder = Decoder(function)
        self.function = TracedFunction(function, self._tail)
        self.wire = wire
        self.packed = packed
        self.answer = answer
        self.latency = 0.0
        self.memory, self._read_only, self._write_only = make_memory(function)

    def close(self) -> None:
        """Leave the device reset, if it lets itself; unmap."""
        try:
            Bench(self.function, self.memory, self._read_only, self._write_only).device.reset()
        except VfiodpaError as error:
            log.warning("%s", error)
        drop_memory(self.function, self.memory)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(
        self, checks: Iterable[Check], profile: str, told: Callable[[Outcome], None] = lambda _outcome: None
    ) -> Run:
        """All ``checks``; ``told`` hears of each outcome as it comes."""
        begin = time.monotonic()
        run = Run(
            describe(self.function),
            environment(self.wire, packed=self.packed),
            profile,
            datetime.now(UTC).isoformat("T", "seconds"),
        )
        for check in checks:
            outcome = self.run_one(check)
            run.outcomes.append(outcome)
            told(outcome)
            if outcome.verdict is Verdict.WEDGED:
                run.ended = f"after {check.clause.id}: {outcome.reason}"
                break
        run.seconds = time.monotonic() - begin
        return run

    def run_one(self, check: Check) -> Outcome:
        """One check, then recovery."""
        begin = time.monotonic()
        bench = self._bench(begin + check.deadline)
        self._tail.clear()  # a new bench looks for the structures; that says nothing of the check
        try:
            verdict, reason = self._judge(check, bench)
            seconds = time.monotonic() - begin
            quiet = verdict in (Verdict.PASS, Verdict.SKIP, Verdict.INFO)
            trace = () if quiet else tuple(self._decoder.lines(self._tail.accesses))
            rings = () if quiet else _rings(bench)
            bench.deadline = 0.0
            lost = self._recover(bench, prove=check.rude or verdict.bad)
        finally:
            bench.close()
        if lost:
            verdict, reason = (
                Verdict.WEDGED,
                f"{lost} (the check itself: {verdict.value}{': ' if reason else ''}{reason})",
            )
        notes, seconds = tuple(bench.notes), round(seconds, 6)
        return Outcome(check.clause.id, verdict, reason, check.title, check.where, notes, trace, seconds, rings)

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
        )

    def _judge(self, check: Check, bench: Bench) -> tuple[Verdict, str]:
        """What the check says, as a verdict with its reason."""
        clause = check.clause
        try:
            bench.needs(*Feature(check.features))
            if check.wire and self.wire is None:
                return Verdict.SKIP, "nobody is at the other end of the wire (--wire)"
            check.run(bench)
        except NotApplicable as finding:
            return Verdict.SKIP, str(finding)
        except Refused as finding:
            return Verdict.REJECT, str(finding)
        except (Deviation, Overdue) as finding:
            return _failed(clause), str(finding)
        except DriverBreach:
            raise  # the check's own fault: only the software NIC says so
        except Unsupported as error:
            return Verdict.SKIP, str(error)
        except VfiodpaError as error:
            return _failed(clause), str(error)
        return (Verdict.PASS if clause.level.binding or clause.takes.value != "N" else Verdict.INFO), ""

    def _recover(self, bench: Bench, *, prove: bool) -> str:
        """Bring the device back; with ``prove`` see that it works. Returns what is in the way, or nothing."""
        try:
            try:
                bench.device.reset()
            except DeviceGone:
                raise
            except VfiodpaError as error:
                log.warning("%s; resetting the function", error)
                self.function.reset()
                Bench.__post_init__(bench)
                bench.device.reset()
            if prove:
                prove_traffic(bench)
                bench.device.reset()
        except (VfiodpaError, Deviation, Overdue, Refused) as error:
            return f"the device did not come back: {error}"
        return ""

    def calibrate(self) -> float:
        """Measure how long the device takes from doorbell to used buffer (seconds); what silences are made of.

        0 when it does not transmit at all: that is for the checks to say.
        """
        bench = self._bench(time.monotonic() + 10)
        try:
            self.latency = statistics.median(prove_traffic(bench, PROBES))
            bench.device.reset()
        except Finding as finding:
            log.warning("%s: the device does not transmit: %s", self.function.name, finding)
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
    for _, ring in sorted(bench.device.rings.items()):
        with contextlib.suppress(VfiodpaError):  # a check may have put a ring where nothing is
            found.append(dump_ring(ring))
    return tuple(found)
