"""Where the kernel shows this machine: the roots of sysfs, /proc and /dev, and what is written there.

Everything in this room reads and writes through a ``Host``, so that another tree can stand in for it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import LimitError, NoDevice, VfiodpaError, errno_name


@dataclass(frozen=True)
class Host:
    """The roots. ``rules`` is where udev rules of the administrator are."""

    sysfs: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    rules: Path = Path("/etc/udev/rules.d")
    modules: Path = Path("/lib/modules")

    @property
    def pci(self) -> Path:
        """The PCI bus in sysfs."""
        return self.sysfs / "bus/pci"

    def device(self, address: str) -> Path:
        """A function's directory."""
        return self.pci / "devices" / address

    def driver(self, name: str) -> Path:
        """A PCI driver's directory."""
        return self.pci / "drivers" / name

    def text(self, path: Path) -> str:
        """A file's text without its last newline; empty where it cannot be read."""
        try:
            return path.read_text(errors="replace").strip()
        except OSError:
            return ""

    def number(self, path: Path, default: int = 0) -> int:
        """A file's number, decimal or with 0x; ``default`` where there is none."""
        try:
            return int(self.text(path), 0)
        except ValueError:
            return default

    def link(self, path: Path) -> str:
        """Name of what a symbolic link leads to; empty where there is none."""
        return path.readlink().name if path.is_symlink() else ""

    def names(self, path: Path) -> list[str]:
        """Names in a directory, sorted; none where there is no such directory."""
        try:
            return sorted(entry.name for entry in path.iterdir())
        except OSError:
            return []

    def lines(self, path: Path) -> Iterator[list[str]]:
        """The words of each line of a table in /proc."""
        return (line.split() for line in self.text(path).splitlines())

    def write(self, path: Path, value: str) -> None:
        """Write a sysfs file. Raises ``LimitError``, ``NoDevice`` or ``VfiodpaError`` with the errno by name."""
        try:
            with path.open("w") as file:  # "w" truncates, which sysfs ignores
                file.write(value or "\n")  # nothing at all would never reach the kernel
        except OSError as error:
            raise _translated(error, path, value) from error


def _translated(error: OSError, path: Path, value: str) -> VfiodpaError:
    kind, remedy = VfiodpaError, ""
    if error.errno in (errno.EACCES, errno.EPERM):
        kind, remedy = LimitError, "run it as root"
    elif error.errno == errno.EROFS:
        kind, remedy = LimitError, "mount -o remount,rw /sys (containers have it read-only)"
    elif error.errno in (errno.ENOENT, errno.ENODEV):
        kind = NoDevice
    return kind(f"cannot write {value!r} to {path}", cause=errno_name(error.errno or 0), remedy=remedy)
