"""The echo path beside its floors: memcpy of the same bytes, and a bare ring loop.

All of it on one CPU and in its caches, without a guest: what our code costs, not what the memory between two CPUs
does. Bursts of 64 frames; cycles of the time stamp counter in polls that found frames. The kinds take turns.

Usage: python -m benchmarks.floor [--rounds N] [--bursts N] [--sizes 64 256 1518]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .report import Spread, built, machine, write_results

KINDS = ("split", "split_inorder", "packed", "packed_inorder", "ring", "memcpy")
BURST = 64


def cycles(program: Path, kind: str, size: int, bursts: int) -> float:
    """Busy cycles per frame."""
    words = [str(program), kind, str(size), str(BURST), str(bursts)]
    output = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=600).stdout
    frames, _, spent = map(int, output.split())
    return spent / frames


def main(argv: Sequence[str]) -> int:
    """Exit status 0."""
    parser = argparse.ArgumentParser(prog="benchmarks.floor", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--bursts", type=int, default=5000, help="in a round (default 5000)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1518])
    options = parser.parse_args(argv)
    print(machine())
    program = built("bench_echo")
    results = {}
    for size in options.sizes:
        rounds: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                rounds[kind].append(cycles(program, kind, size, options.bursts))
        for kind, numbers in rounds.items():
            spread = results[f"{kind} {size}"] = Spread.of(numbers)
            print(f"{size:5} B {kind:14} {spread.text(1)} cycles a frame")
    print(f"written to {write_results('floor', {name: asdict(spread) for name, spread in results.items()})}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
