"""Device nodes under /dev, and who stands in the way of opening them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import LimitError, Unsupported, VfiodpaError, errno_name
from ..pci.device import PciDevice
from ..pci.host import Host
from ..pci.iommu_group import IommuGroup
from ..pci.usage import User, users_of

HOST = Host()


class InUse(LimitError):
    """Somebody else has the device open."""


def read_function(address: str) -> PciDevice:
    """A function as the kernel shows it now. Raises ``NoDevice``."""
    return PciDevice.read(HOST, address)


def read_group(number: int) -> IommuGroup:
    """Who is in an IOMMU group now."""
    return IommuGroup.read(HOST, number)


def node(name: str) -> Path:
    """Where a device node is."""
    return HOST.dev / name


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
    who = ", ".join(f"process {user.pid} ({user.name})" for user in others_with(path))
    return InUse(
        f"it is in use by {who or 'another process'}",
        device=device,
        cause=errno_name(error.errno or 0),
        remedy="end it" if who else f"sudo fuser -v {path}",
    )


def others_with(path: Path) -> list[User]:
    """Other processes that have ``path`` open."""
    return [user for user in users_of(HOST, path) if user.pid != os.getpid()]
