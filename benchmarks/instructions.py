"""Instructions per frame of the echo path, counted by callgrind: the same number again wherever it is run.

The worker's thread is counted through bursts of 32 and through as many bursts of 64 frames; the difference is what 32
frames more cost, without what a burst or a wake-up costs.

Usage: python -m benchmarks.instructions [--bursts N] [--sizes 64 256 1518]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .report import SKIPPED, built, write_results

WORKER = 2  # the second thread
BURSTS = (32, 64)
KINDS = ("split", "split_inorder", "packed", "packed_inorder")


def counted(program: Path, kind: str, size: int, burst: int, bursts: int) -> int:
    """Instructions of the worker's thread."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        tool = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}"]
        words = [*tool, str(program), kind, str(size), str(burst), str(bursts)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise OSError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-500:]}")
        found = re.search(r"^(?:totals|summary): (\d+)", out.with_name(f"out-{WORKER:02}").read_text(), re.MULTILINE)
    if not found:
        raise ValueError(f"callgrind counted nothing: {words}")
    return int(found[1])


def per_frame(program: Path, kind: str, size: int, bursts: int) -> float:
    """Instructions that one frame more costs."""
    few, many = (counted(program, kind, size, burst, bursts) for burst in BURSTS)
    return (many - few) / (BURSTS[1] - BURSTS[0]) / bursts


def main(argv: Sequence[str]) -> int:
    """Exit status: 0, or 77 without valgrind."""
    parser = argparse.ArgumentParser(prog="benchmarks.instructions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bursts", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1518])
    options = parser.parse_args(argv)
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: apt-get install valgrind", file=sys.stderr)
        return SKIPPED
    program = built("bench_echo")
    results = {}
    for kind in KINDS:
        for size in options.sizes:
            results[f"{kind} {size}"] = number = per_frame(program, kind, size, options.bursts)
            print(f"{size:5} B {kind:14} {number:.1f} instructions a frame")
    print(f"written to {write_results('instructions', results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
