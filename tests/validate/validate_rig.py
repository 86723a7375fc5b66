"""Checks and runs made for a test: what the suite itself looks like is not what these tests are about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from vfiodpa.spec.clauses import CLAUSES
from vfiodpa.spec.features import Feature
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.check import Check
from vfiodpa.validate.results import Outcome, Run
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Verdict

MUST, SHOULD, MAY = "STS-1", "STS-2", "RFB-2"
OTHER = "STS-3"


def fine(_bench: Bench) -> None:
    """A device that does right."""


def make_check(run: Callable[[Bench], None], clause: str = MUST, **changes: object) -> Check:
    """A check of a clause that asks for no feature."""
    plain = Check(CLAUSES[clause], run, Feature(0))
    return replace(plain, **changes)  # type: ignore[arg-type]


@contextmanager
def a_runner(device: str = "soft", *, packed: bool = False) -> Iterator[Runner]:
    with open_target(device) as target, Runner(target.function, target.wire, packed=packed) as runner:
        yield runner


def an_outcome(clause: str = MUST, verdict: Verdict = Verdict.PASS, reason: str = "", **more: object) -> Outcome:
    outcome = Outcome(clause, verdict, reason, f"what {clause} says", "vfiodpa/conformance/x.py:1", seconds=0.012)
    return replace(outcome, **more)  # type: ignore[arg-type]


def a_run(*outcomes: Outcome, **changes: object) -> Run:
    device = {
        "name": "0000:3b:00.2",
        "vendor_id": "1af4",
        "device_id": "1041",
        "subsystem_vendor_id": "1af4",
        "subsystem_id": "0001",
        "revision": 1,
        "features": ["NET_MAC", "VERSION_1"],
        "queues": 3,
    }
    environment = {
        "vfiodpa": "1",
        "python": "3.11",
        "kernel": "6.12",
        "machine": "x86_64",
        "wire": "",
        "rings": "split",
    }
    run = Run(device, environment, "nic-today", "2026-11-23T05:00:00+00:00", list(outcomes), 1.5)
    return replace(run, **changes)  # type: ignore[arg-type]
