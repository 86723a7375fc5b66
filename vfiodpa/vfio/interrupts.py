"""Interrupts of a VFIO device: MSI-X vectors, and the two events error and release.

Vectors are switched on once, without eventfds, and then changed one at a time, which leaves the others
alone. Where the kernel can add vectors later (no NORESIZE), only those in use are taken from it;
where it cannot, all are taken at once when the function is opened, and it says how many it has.

While a vector's eventfd is exchanged, an interrupt can be lost: the caller signals the new eventfd
once afterwards.
"""

from __future__ import annotations

import errno
import logging

from ..errors import DeviceError, Unsupported, UsageError, errno_name
from ..pci.eventfd import ANY, kind_of
from ..spec.vfio import (
    DEVICE_GET_IRQ_INFO,
    DEVICE_SET_IRQS,
    NO_FD,
    IrqAction,
    IrqFlag,
    IrqInfo,
    IrqSet,
    PciIrq,
)

log = logging.getLogger(__name__)


class Irqs:
    """All interrupts of one function; fds stay the caller's, the kernel holds the eventfds themselves."""

    def __init__(self, device_fd: int, name: str) -> None:
        self._fd = device_fd
        self._name = name
        self._enabled = False
        self._attached: set[int] = set()
        self._armed: set[PciIrq] = set()
        info = self._info(PciIrq.MSIX)
        self.vectors = info.count
        self._grows = not info.flags & IrqFlag.NORESIZE
        if self.vectors and not self._grows:
            self._enable(self.vectors)

    def set(self, vector: int, fd: int | None) -> None:
        """Attach or detach one vector's eventfd."""
        if not 0 <= vector < self.vectors:
            raise UsageError(f"MSI-X vector {vector}: there are {self.vectors}", device=self._name)
        if fd is None and vector not in self._attached:
            return
        if not self._enabled:
            self._enable(1 if self._grows else self.vectors)
        try:
            self._set(PciIrq.MSIX, vector, [fd])
        except OSError as error:
            raise self._refusal(vector, fd, error) from error
        if fd is None:
            self._attached.discard(vector)
        else:
            self._attached.add(vector)

    def arm(self, index: PciIrq, fd: int) -> bool:
        """Have an eventfd signalled by ERR or REQ; ``False`` where the function has no such interrupt."""
        if not self._info(index).count:
            return False
        try:
            self._set(index, 0, [fd])
        except OSError as error:
            log.warning("%s: %s is not armed: %s", self._name, index.name, errno_name(error.errno or 0))
            return False
        self._armed.add(index)
        return True

    def disarm_all(self) -> None:
        """The inverse of ``arm``."""
        for index in self._armed:
            self._off(index)
        self._armed.clear()

    def disable(self) -> None:
        """All vectors off; the next ``set`` switches them on again."""
        if self._enabled:
            self._off(PciIrq.MSIX)
        self._enabled = False
        self._attached.clear()

    def _enable(self, count: int) -> None:
        """Take vectors from the kernel; it answers with a number when it has fewer."""
        try:
            have = self._set(PciIrq.MSIX, 0, [None] * count)
            if have:
                log.warning("%s: the kernel has %d MSI-X vectors, the function %d", self._name, have, count)
                self.vectors = count = have
                have = self._set(PciIrq.MSIX, 0, [None] * count)
        except OSError as error:
            cause = errno_name(error.errno or 0)
            raise DeviceError("cannot switch MSI-X on", device=self._name, cause=cause) from error
        if have:
            raise DeviceError("cannot switch MSI-X on", device=self._name, cause=f"the kernel has {have} vectors now")
        self._enabled = True

    def _info(self, index: PciIrq) -> IrqInfo:
        try:
            return DEVICE_GET_IRQ_INFO(self._fd, IrqInfo(argsz=IrqInfo.size, index=index))
        except OSError as error:
            if error.errno == errno.EINVAL:  # no such interrupt, for example ERR without PCI Express
                return IrqInfo(index=index)
            cause = errno_name(error.errno or 0)
            raise DeviceError(f"no answer about {index.name} interrupts", device=self._name, cause=cause) from error

    def _set(self, index: PciIrq, start: int, fds: list[int | None]) -> int:
        data = b"".join((NO_FD if fd is None else fd).to_bytes(4, "little") for fd in fds)
        flags = IrqAction.DATA_EVENTFD | IrqAction.TRIGGER
        head = IrqSet(argsz=IrqSet.size + len(data), flags=flags, index=index, start=start, count=len(fds))
        return DEVICE_SET_IRQS.call(self._fd, head, data).value

    def _off(self, index: PciIrq) -> None:
        """Count 0 without data switches the whole index off."""
        flags = IrqAction.DATA_NONE | IrqAction.TRIGGER
        try:
            DEVICE_SET_IRQS(self._fd, IrqSet(argsz=IrqSet.size, flags=flags, index=index))
        except OSError as error:
            log.debug("%s: %s off: %s", self._name, index.name, errno_name(error.errno or 0))

    def _refusal(self, vector: int, fd: int | None, error: OSError) -> DeviceError | Unsupported:
        cause = errno_name(error.errno or 0)
        if fd is not None and error.errno in (errno.EINVAL, errno.EBADF) and kind_of(fd) != ANY:
            return DeviceError(f"MSI-X vector {vector}: fd {fd} is no eventfd", device=self._name, cause=cause)
        if error.errno == errno.ENOSPC:
            return Unsupported(f"the kernel has no interrupt for MSI-X vector {vector}", device=self._name, cause=cause)
        return DeviceError(f"cannot change MSI-X vector {vector}", device=self._name, cause=cause)
