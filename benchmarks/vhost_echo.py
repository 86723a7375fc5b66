"""Frames per second and cycles per frame: our vhost-user back end beside DPDK's, with the same guest.

The guest is testpmd on virtio-user, on one CPU: 1024 frames go round. The back end has another CPU and sends each
frame back: ``vfiodpa serve soft:port=echo``, or testpmd in io mode on DPDK's vhost library. They take turns, and the
order changes from round to round, so that a slow minute of the machine hits both.

- Frames per second are those the guest receives, by its own clock.
- Busy cycles per frame: ticks of the time stamp counter in polls that found frames, by the frames taken from the
  guest. Each frame counts once: testpmd counts it in its receive burst, we in our transmit queue's ``packets``.

Usage: python -m benchmarks.vhost_echo [--rounds N] [--seconds S] [--sizes 64 1518] [--paths split_mrg packed_mrg].
As root it reserves huge pages. All of it is 270 runs of some 3 s; each line says how long the rest is going to take.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwtests.peers import hugepages
from hwtests.peers.backend import start_backend
from hwtests.peers.lab import RingPath
from hwtests.peers.program import ProgramError
from hwtests.peers.testpmd import MEMORY_MB, Memory, two_cpus, virtio_user

from .report import Spread, machine, write_results

KINDS = ("vfiodpa", "dpdk")
SIZES = [64, 256, 1518]
BURSTS = 32
WARM_UP_S = 0.5
# DPDK's names of virtio-user's paths: guides/nics/virtio.rst. The tenth, packed_vec, needs AVX-512.
PATHS: dict[str, RingPath] = {
    f"{'packed' if packed else 'split'}{'_inorder' if in_order else ''}_{'mrg' if mergeable else 'nonmrg'}": RingPath(
        packed=packed, in_order=in_order, mergeable=mergeable
    )
    for packed, in_order, mergeable in itertools.product((False, True), (False, True), (True, False))
} | {"split_vec": RingPath(vectorized=True)}  # IN_ORDER would switch it off
QUIET = 50  # preemptions a second that a measurement can bear


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, and through which path of the guest's driver (a key of ``PATHS``)."""

    size: int
    path: str

    def __str__(self) -> str:
        return f"{self.size} B, {self.path}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one back end."""

    kind: str
    case: Case
    round: int
    pps: int
    cycles: float  # busy, per frame
    dropped: int
    preempted: float  # how often a second the back end lost its CPU: its cycles then hold other people's work


def measure(kind: str, case: Case, number: int, seconds: float, memory: Memory) -> Sample:
    """Start both sides, let the frames go round, look twice. Raises ProgramError when nothing moves."""
    path = PATHS[case.path]
    server_cpu, peer_cpu = two_cpus()
    with tempfile.TemporaryDirectory(prefix="vfiodpa-") as name:
        directory = Path(name)
        server = start_backend(kind, directory, cpu=server_cpu, memory=memory)
        with (
            server.program,
            virtio_user(server.socket, directory / "guest.log", cpu=peer_cpu, memory=memory, **path.options) as guest,
        ):
            if guest.paths() != path.functions:
                raise ProgramError(f"{case.path}: virtio-user chose {guest.paths()} instead of {path.functions}")
            guest.set_frame_size(case.size)
            guest.start(BURSTS)
            time.sleep(WARM_UP_S)
            first, preempted = server.counters(), server.program.preemptions()
            guest.port_stats()  # its rate counts from here
            time.sleep(seconds)
            pps = guest.port_stats().rx_pps
            last, preempted = server.counters(), server.program.preemptions() - preempted
            frames = last.from_guest - first.from_guest
            if not frames or not pps:
                raise ProgramError(f"{kind}, {case}: no frames in {seconds:g} s:\n{server.program.output()[-2000:]}")
            guest.stop()
            guest.quit()
            server.stop()
    cycles = (last.busy_cycles - first.busy_cycles) / frames
    return Sample(kind, case, number, pps, cycles, last.dropped - first.dropped, preempted / seconds)


def run(cases: Sequence[Case], rounds: int, seconds: float, memory: Memory) -> Iterator[Sample]:
    """Round by round all cases, so that an end before the last one leaves whole rounds; back ends take turns."""
    begin, done, total = time.monotonic(), 0, rounds * len(cases) * len(KINDS)
    for number, case in itertools.product(range(rounds), cases):
        for kind in KINDS if number % 2 == 0 else reversed(KINDS):
            sample = measure(kind, case, number, seconds, memory)
            done += 1
            left = (time.monotonic() - begin) / done * (total - done)
            print(
                f"{done:4}/{total}, {left / 60:4.1f} min left: round {number + 1}, {case}, {kind}: "
                f"{sample.pps / 1e6:.3f} Mpps, {sample.cycles:.0f} cycles",
                flush=True,
            )
            yield sample


def whole_rounds(running: Iterator[Sample], of: int) -> list[Sample]:
    """What was measured, also when Control-C ends it early: rounds that came to their end."""
    samples: list[Sample] = []
    try:
        samples.extend(running)
    except KeyboardInterrupt:
        print(f"stopped: {len(samples) // of} whole rounds")
    return samples[: len(samples) // of * of]


def summary(samples: Sequence[Sample], case: Case) -> dict[str, Spread]:
    """Per back end, and of the ratios ours / DPDK's of the same round."""
    runs = {kind: [s for s in samples if s.case == case and s.kind == kind] for kind in KINDS}
    for kind in KINDS:
        runs[kind].sort(key=lambda sample: sample.round)
    ours, theirs = runs["vfiodpa"], runs["dpdk"]
    found = {}
    for kind in KINDS:
        found[f"{kind} pps"] = Spread.of([s.pps for s in runs[kind]])
        found[f"{kind} cycles"] = Spread.of([s.cycles for s in runs[kind]])
    found["ratio pps"] = Spread.of([a.pps / b.pps for a, b in zip(ours, theirs, strict=True)])
    found["ratio cycles"] = Spread.of([a.cycles / b.cycles for a, b in zip(ours, theirs, strict=True)])
    return found


def print_table(samples: Sequence[Sample], cases: Sequence[Case]) -> None:
    """Rates, then cycles, then what a reader should know before believing them."""
    print("\nmedian (lowest..highest); ratios are vfiodpa / DPDK of the same round")
    row = "{:28} {:>26} {:>26} {:>22}".format
    print(row("frames per second, M", "vfiodpa", "DPDK vhost", "ratio (more is better)"))
    summaries = {case: summary(samples, case) for case in cases}
    for case, found in summaries.items():
        millions = [
            Spread(s.median / 1e6, s.low / 1e6, s.high / 1e6) for s in (found["vfiodpa pps"], found["dpdk pps"])
        ]
        print(row(str(case), *(s.text(3) for s in millions), found["ratio pps"].text(2)))
    print(row("busy cycles a frame", "vfiodpa", "DPDK vhost", "ratio (less is better)"))
    for case, found in summaries.items():
        both = [found[f"{kind} cycles"].text(0) for kind in KINDS]
        print(row(str(case), *both, found["ratio cycles"].text(2)))
    for sample in samples:
        if sample.dropped:
            print(f"note: {sample.case}, round {sample.round + 1}, {sample.kind}: {sample.dropped} frames dropped")
    disturbed = sum(sample.preempted > QUIET for sample in samples)
    if disturbed:
        print(f"note: other programs took the back end's CPU in {disturbed} of {len(samples)} runs: repeat when quiet")


def write(samples: Sequence[Sample], cases: Sequence[Case], about: dict[str, Any]) -> Path:
    """Everything measured, and what it comes to."""
    body = {
        **about,
        "samples": [asdict(sample) for sample in samples],
        "summary": {
            str(case): {name: asdict(spread) for name, spread in summary(samples, case).items()} for case in cases
        },
    }
    return write_results("vhost-echo", body, "vfiodpa.bench/2")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.vhost_echo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each case and back end (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="that are measured in each run (default 1)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help=f"of frames (default {SIZES})")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS), help="of the guest (default all)")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Exit status: 0, 77 when there is nothing to compare with, or 130 when no round was finished."""
    options = arguments(argv)
    if shutil.which("dpdk-testpmd") is None:
        print("dpdk-testpmd is not installed: apt-get install dpdk-dev", file=sys.stderr)
        return 77
    cases = [Case(size, path) for size in options.sizes for path in options.paths]
    about = {"machine": machine()}
    print(f"{about['machine']}")
    if len(set(two_cpus())) < 2:
        print("note: one CPU for both sides: they wait for each other, the rates say little")
    with hugepages.reserved(2 * (MEMORY_MB + 32)) as why_not:
        memory = Memory.SMALL_PAGES if why_not else Memory.HUGE_PAGES
        print(f"memory: {memory.value} pages" + (f" ({why_not})" if why_not else ""))
        samples = whole_rounds(run(cases, options.rounds, options.seconds, memory), len(cases) * len(KINDS))
    if not samples:
        return 130
    print_table(samples, cases)
    print(f"\nwritten to {write(samples, cases, {**about, 'pages': memory.value})}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ProgramError as error:
        sys.exit(f"bench: {error}")
