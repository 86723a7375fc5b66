"""Errors that say what failed, on which device, why, and the command that mends it.

Every error carries the exit code of the command line (DESIGN: 0 done, 1 failed, 2 usage, 3 device
absent, 4 permission or limit, 5 peer broke the protocol, 6 device failed or gone, 7 not supported).
"""

from __future__ import annotations

import errno
import os
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of every ``vfiodpa`` verb."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_DEVICE = 3
    NO_PERMISSION = 4
    PEER = 5
    DEVICE = 6
    UNSUPPORTED = 7
    SKIPPED = 77
    INTERRUPTED = 130


class VfiodpaError(Exception):
    """Base of all errors raised on purpose.

    ``what`` says what failed, ``device`` on which device or socket, ``cause`` the likely reason and
    ``remedy`` the command (or change) that mends it.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, what: str, *, device: str = "", cause: str = "", remedy: str = "") -> None:
        self.what = what
        self.device = device
        self.cause = cause
        self.remedy = remedy
        super().__init__(self._text())

    def _text(self) -> str:
        text = f"{self.device}: {self.what}" if self.device else self.what
        if self.cause:
            text += f" ({self.cause})"
        if self.remedy:
            text += f"; try: {self.remedy}"
        return text


class UsageError(VfiodpaError):
    """The caller asked for something that makes no sense, for example an unknown device key."""

    exit_code = ExitCode.USAGE


class NoDevice(VfiodpaError):
    """The device is absent or not bound to a driver that lets us in."""

    exit_code = ExitCode.NO_DEVICE


class LimitError(VfiodpaError):
    """A permission or a resource limit stands in the way."""

    exit_code = ExitCode.NO_PERMISSION


class ProtocolViolation(VfiodpaError):
    """The peer broke a protocol rule; its connection is closed and the next one is served."""

    exit_code = ExitCode.PEER


class DeviceError(VfiodpaError):
    """The device did not do what the specification says it must."""

    exit_code = ExitCode.DEVICE


class DeviceTimeout(DeviceError):
    """The device did not answer within its deadline."""


class DeviceGone(DeviceError):
    """The device is no longer there (registers read as all ones)."""


class FeaturesRefused(DeviceError):
    """The device cleared FEATURES_OK (virtio 1.3, section 3.1.1 step 6)."""


class CommandRefused(DeviceError):
    """The device answered a control queue command with VIRTIO_NET_ERR (virtio 1.3, section 5.1.6.5)."""


class IommuError(DeviceError):
    """The IOMMU refused a mapping."""


class DriverBreach(DeviceError):
    """The *driver* broke a rule of the specification; raised by the software NIC only."""


class Unsupported(VfiodpaError):
    """The thing is legal but this device, kernel or build cannot do it."""

    exit_code = ExitCode.UNSUPPORTED


class StateError(VfiodpaError):
    """An operation was called in a state that does not allow it."""


def errno_name(code: int) -> str:
    """``-22`` or ``22`` -> ``'EINVAL: Invalid argument'``."""
    code = abs(code)
    return f"{errno.errorcode.get(code, code)}: {os.strerror(code)}"


def check(rc: int, what: str, *, device: str = "", remedy: str = "") -> int:
    """Return ``rc`` of a C helper when it is not negative, else raise with the errno by name."""
    if rc >= 0:
        return rc
    cause = errno_name(rc)
    kind: type[VfiodpaError] = DeviceError
    if -rc in (errno.EPERM, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC):
        kind = LimitError
    elif -rc == errno.ETIMEDOUT:
        kind = DeviceTimeout
    raise kind(what, device=device, cause=cause, remedy=remedy)
