"""Memory that a device may reach is locked, and locked memory is limited."""

from __future__ import annotations

import re
import resource
from pathlib import Path

from ..errors import LimitError

STATUS = Path("/proc/self/status")
_IPC_LOCK = 14  # CAP_IPC_LOCK, linux/capability.h


def check_memlock(need: int, device: str) -> None:
    """Raise ``LimitError`` when ``need`` bytes in all are more than this process may lock."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit != resource.RLIM_INFINITY and need > limit and not is_exempt():
        raise memlock_error(need, device)


def memlock_error(need: int, device: str, cause: str = "") -> LimitError:
    """``need`` bytes in all against the limit, and how to raise it."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    shown = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit >> 10} KiB"
    cause = f"{cause}; RLIMIT_MEMLOCK is {shown}" if cause else f"RLIMIT_MEMLOCK is {shown}"
    return LimitError(
        f"the device needs {_kib(need)} KiB of locked memory",
        device=device,
        cause=cause,
        remedy=f"ulimit -l {_kib(need)} (a systemd unit: LimitMEMLOCK={_kib(need)}K)",
    )


def is_exempt() -> bool:
    """Has this process CAP_IPC_LOCK?"""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", STATUS.read_text(), re.MULTILINE)
    return match is not None and bool(int(match[1], 16) >> _IPC_LOCK & 1)


def _kib(size: int) -> int:
    return -(-size // 1024)
