"""What the benchmarks share: spreads, the machine in general terms, programs in C, results as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SKIPPED = 77


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and extremes of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        return cls(statistics.median(numbers), min(numbers), max(numbers))

    def text(self, digits: int) -> str:
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}..{self.high:.{digits}f})"


def machine() -> dict[str, Any]:
    """In general terms: what a reader needs to judge the numbers."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "virtual": any("hypervisor" in line.split() for line in cpuinfo),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """Of the tree that is measured; with ``-dirty`` when it is not quite that."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def built(program: str) -> Path:
    """A program of csrc/bench/, built. The build directory is the editable install's: ``make`` makes it."""
    meson = Path(sys.executable).with_name("meson")
    build = ROOT / "build"
    for words in (["setup", "--reconfigure", str(build)], ["compile", "-C", str(build), program]):
        done = subprocess.run([meson, *words], capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            sys.exit(f"bench: cannot build {program}:\n{done.stdout}{done.stderr}")
    return build / "csrc" / "bench" / program


def write_results(name: str, body: dict[str, Any], schema: str = "") -> Path:
    """One JSON object with a schema, ``vfiodpa.bench.NAME/1`` unless it is said; the file's name is its time."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    head = {"schema": schema or f"vfiodpa.bench.{name}/1", "when": now.isoformat(timespec="seconds")}
    path = RESULTS / f"{name}-{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(
        json.dumps({**head, "vfiodpa": version("vfiodpa"), "commit": commit(), "machine": machine(), **body}, indent=2)
        + "\n"
    )
    return path
