"""From a kick to the call that answers it, with the worker asleep, beside a bare eventfd ping-pong of two threads.

One thread offers a frame to a software NIC whose worker sleeps, kicks, and waits for the call of the frame that comes
back; then it does the same with a thread that does nothing but answer one eventfd with another. They take turns, and
what is compared are the medians of a round. Between two measurements is a pause, so that the other side is asleep.

Usage: python -m benchmarks.wakeup [--rounds N] [--times N] [--cpus A B]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from .report import Spread, built, machine, write_results

GOAL = 1.5


def measure(rounds: int, times: int, cpus: Sequence[int]) -> list[tuple[int, int]]:
    """For each round the medians in ns: of kick to call, of the ping-pong."""
    words = [str(built("bench_wakeup")), *map(str, (rounds, times, *cpus))]
    lines = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=600).stdout.splitlines()
    return [(int(nic), int(pong)) for nic, pong in (line.split() for line in lines)]


def main(argv: Sequence[str]) -> int:
    """Exit status 0."""
    parser = argparse.ArgumentParser(prog="benchmarks.wakeup", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--times", type=int, default=5000, help="of each kind in a round (default 5000)")
    parser.add_argument("--cpus", type=int, nargs=2, default=[0, 1], help="of the driver and of the worker")
    options = parser.parse_args(argv)
    print(machine())
    rounds = measure(options.rounds, options.times, options.cpus)
    found = {
        "kick to call, ns": Spread.of([nic for nic, _ in rounds]),
        "ping-pong, ns": Spread.of([pong for _, pong in rounds]),
        "ratio": Spread.of([nic / pong for nic, pong in rounds]),
    }
    for name, spread in found.items():
        print(f"{name:18} {spread.text(2 if name == 'ratio' else 0)}")
    if found["ratio"].median > GOAL:
        print(f"note: the goal is {GOAL}")
    print(f"written to {write_results('wakeup', {name: asdict(spread) for name, spread in found.items()})}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
