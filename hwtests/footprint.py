"""What a process holds: to be the same before and after."""

from __future__ import annotations

import re
import time
from pathlib import Path

SETTLE_S = 5.0  # the kernel ends a thread a moment after it was joined


def footprint() -> dict[str, int]:
    """Open files, threads, device and memfd mappings, locked and pinned memory (kB) of this process."""
    status = Path("/proc/self/status").read_text()
    amounts = re.findall(r"^(Threads|VmLck|VmPin):\s+(\d+)", status, re.MULTILINE)
    return {
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "mappings": len(re.findall("vfio|memfd", Path("/proc/self/maps").read_text())),
        **{name: int(amount) for name, amount in amounts},
    }


def settled(wanted: dict[str, int]) -> dict[str, int]:
    """The footprint once it is as wanted, or as it stays."""
    end = time.monotonic() + SETTLE_S
    while (now := footprint()) != wanted and time.monotonic() < end:
        time.sleep(0.01)
    return now
