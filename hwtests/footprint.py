"""What a process holds: to be the same before and after."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SETTLE_S = 5.0  # a Python thread is joined before it has left the interpreter
EXITING = 0x4  # PF_EXITING of include/linux/sched.h; set before the one who joins is told


class Thread(NamedTuple):
    """One of this process's, as the kernel lists it."""

    tid: int
    name: str
    state: str


def _living() -> Iterator[Thread]:
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # ended since it was listed
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(") ")
            state, *numbers = rest.split()
            if not int(numbers[5]) & EXITING:
                yield Thread(int(task.name), name, state)


def threads() -> list[Thread]:
    """All threads, without those that are ending: one that was joined may still be listed."""
    last, now = list(_living()), list(_living())
    # The kernel's listing may pass over a thread whose neighbour ends meanwhile.
    while {thread.tid for thread in now} != {thread.tid for thread in last}:
        last, now = now, list(_living())
    return now


def thread_names() -> list[str]:
    """Their names."""
    return [thread.name for thread in threads()]


def _at_rest() -> bool:
    """Does every other thread wait for something? One that runs may be a Python thread on its way out."""
    return all(thread.state == "S" for thread in threads() if thread.tid != os.getpid())


def footprint() -> dict[str, int]:
    """Open files, threads, device and memfd mappings, locked and pinned memory (kB) of this process."""
    end = time.monotonic() + SETTLE_S
    while not _at_rest() and time.monotonic() < end:
        time.sleep(0.001)
    status = Path("/proc/self/status").read_text()
    amounts = re.findall(r"^(VmLck|VmPin):\s+(\d+)", status, re.MULTILINE)
    return {
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(threads()),
        "mappings": len(re.findall("vfio|memfd", Path("/proc/self/maps").read_text())),
        **{name: int(amount) for name, amount in amounts},
    }


def settled(wanted: dict[str, int]) -> dict[str, int]:
    """The footprint once it is as wanted, or as it stays."""
    end = time.monotonic() + SETTLE_S
    while (now := footprint()) != wanted and time.monotonic() < end:
        time.sleep(0.01)
    return now
