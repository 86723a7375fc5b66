"""Device nodes under /dev, and who stands in the way of opening them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import LimitError, Unsupported, VfiodpaError, errno_name

DEV = Path("/dev")
PROC = Path("/proc")


class InUse(LimitError):
    """Somebody else has the device open."""


def node(name: str) -> Path:
    """Where a device node is."""
    return DEV / name


def open_node(name: str, device: str, *, missing: str) -> int:
    """Open ``/dev/name`` for reading and writing; ``missing`` is the remedy when it is not there."""
    path = node(name)
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _error(path, device, missing, error) from error


def _error(path: Path, device: str, missing: str, error: OSError) -> VfiodpaError:
    what, cause = f"cannot open {path}", errno_name(error.errno or 0)
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return Unsupported(what, device=device, cause=cause, remedy=missing)
    if error.errno == errno.EBUSY:
        return in_use(path, device, error)
    remedy = ""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"sudo chown $USER {path} (or a udev rule that gives it to your group)"
    return LimitError(what, device=device, cause=cause, remedy=remedy)


def in_use(path: Path, device: str, error: OSError) -> InUse:
    """The device belongs to another process, named when it can be seen."""
    holders = users_of(path)
    who = ", ".join(f"process {pid} ({name})" for pid, name in holders)
    return InUse(
        f"it is in use by {who or 'another process'}",
        device=device,
        cause=errno_name(error.errno or 0),
        remedy="end it" if who else f"sudo fuser -v {path}",
    )


def users_of(path: Path) -> list[tuple[int, str]]:
    """Processes that have ``path`` open: pid and name. Other users' are seen only by root."""
    found = []
    for process in PROC.glob("[0-9]*"):
        try:
            if int(process.name) != os.getpid() and _has_open(process, path):
                found.append((int(process.name), (process / "comm").read_text().strip()))
        except OSError:
            continue  # it ended meanwhile, or is not ours to see
    return sorted(found)


def _has_open(process: Path, path: Path) -> bool:
    return any(os.readlink(fd) == str(path) for fd in (process / "fd").iterdir())  # noqa: PTH115 # not resolved
