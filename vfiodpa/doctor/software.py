"""The software path: what `soft` needs, on any Linux."""

from __future__ import annotations

import os

from .._native import lib
from ..errors import UsageError, VfiodpaError, errno_name
from ..memory import PAGE_SIZE, Mapping
from ..vdpa.devices import open_nic
from .check import Check, Level

_BUILD = "pip install --force-reinstall vfiodpa (in a tree: make clean demo)"
_KERNEL = "a Linux kernel that has it; a sandbox (seccomp) may forbid it"


def check_native() -> Check:
    """The C part: does it map a page, and does an access of it go where it should?"""
    name = "native module"
    try:
        with Mapping.create(PAGE_SIZE) as page:
            fine = not lib.vdp_is_hugetlbfs(page.fd)
    except (VfiodpaError, AttributeError) as error:
        return Check(name, Level.FAIL, str(error), _BUILD)
    return Check(name, Level.OK, "works") if fine else Check(name, Level.FAIL, "gives wrong answers", _BUILD)


def check_memfd() -> Check:
    """Shared memory without a file system."""
    try:
        os.close(os.memfd_create("vfiodpa-doctor", os.MFD_CLOEXEC))
    except OSError as error:
        return Check("memfd", Level.FAIL, errno_name(error.errno or 0), _KERNEL)
    return Check("memfd", Level.OK, "works")


def check_eventfd() -> Check:
    """Doorbells and interrupts."""
    try:
        fd = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    except OSError as error:
        return Check("eventfd", Level.FAIL, errno_name(error.errno or 0), _KERNEL)
    try:
        fine = os.eventfd_read(fd) == 1
    finally:
        os.close(fd)
    return Check("eventfd", Level.OK, "works") if fine else Check("eventfd", Level.FAIL, "does not count", _KERNEL)


def check_nic(device: str = "soft") -> Check:
    """Open the software NIC, with the keys that it is asked about, and close it. Raises ``UsageError``."""
    try:
        with open_nic(device) as nic:
            return Check("software NIC", Level.OK, f"works: driver {nic.device.driver}, {len(nic.queues)} queues")
    except UsageError:
        raise
    except VfiodpaError as error:
        return Check.of_error("software NIC", error, _BUILD if device == "soft" else "other keys, or none: soft")


def software_checks(device: str = "soft") -> tuple[Check, ...]:
    """All of them. Raises ``UsageError`` for keys that there are not."""
    return check_native(), check_memfd(), check_eventfd(), check_nic(device)
