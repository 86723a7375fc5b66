"""ReplayFunction: a recording as a PciFunction, so that a driver's bring-up on a card becomes a test without it.

    with ReplayFunction.open(Path("bring-up.trace")) as nic:
        driver_for(nic).close()
        nic.check_done()

Registers answer as they did; the driver must do the same writes in the same order. There is no DMA and there are no
interrupts: memory is mapped for nobody, and eventfds stay quiet.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .._native import ffi, lib
from ..errors import DeviceError, IommuError, StateError, Unsupported
from ..memory import Iova, Mapping
from ..pci.function import DmaDomain, DmaFault, Doorbell, IovaRange, PciFunction, Perm
from ..registers import Window
from .file import Recording, Subject, load
from .names import Names
from .player import Player
from .records import Access
from .script import Script

log = logging.getLogger(__name__)

SCHEME = "replay"


@dataclass(frozen=True, slots=True)
class ReplayWindow:
    """Registers of a recording."""

    function: ReplayFunction
    space: str
    length: int

    def read(self, offset: int, width: int) -> int:
        self._check(offset, width)
        return self.function.player.read((self.space, offset, width))

    def write(self, offset: int, width: int, value: int) -> None:
        self._check(offset, width)
        self.function.player.write(Access(self.space, offset, width, int(value), write=True))

    def _check(self, offset: int, width: int) -> None:
        self.function.check_open()
        if not 0 <= offset <= self.length - width // 8:
            raise IndexError(f"{width}-bit access at {offset:#x} leaves {self.length:#x} bytes of {self.space}")


class ReplayDomain(DmaDomain):
    """The recorded address space: what is mapped is checked for its place, and used by nobody."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._maps: dict[int, int] = {}

    @property
    def kind(self) -> str:
        return self._subject.iommu

    @property
    def reason(self) -> str:
        return "as recorded; no DMA"

    @property
    def isolates(self) -> bool:
        return self._subject.isolates

    @property
    def iova_ranges(self) -> Sequence[IovaRange]:
        return self._subject.ranges

    def map(
        self, iova: Iova, memory: Mapping, offset: int = 0, length: int | None = None, perm: Perm = Perm.RW
    ) -> None:
        del perm
        size = memory.length - offset if length is None else length
        what = f"cannot map {size:#x} bytes at {iova:#x}"
        if not any(one.holds(iova, size) for one in self.iova_ranges):
            raise IommuError(what, cause="outside the recorded I/O address ranges")
        if any(iova < at + taken and at < iova + size for at, taken in self._maps.items()):
            raise IommuError(what, cause="EEXIST: it overlaps another map")
        self._maps[iova] = size

    def unmap(self, iova: Iova, length: int) -> None:
        if self._maps.get(iova) != length:
            raise IommuError(f"cannot unmap {length:#x} bytes at {iova:#x}", cause="ENOENT: it is not one earlier map")
        del self._maps[iova]

    def faults(self) -> Sequence[DmaFault]:
        return ()

    def close(self) -> None:
        self._maps.clear()


class ReplayFunction(PciFunction):
    """See the module."""

    def __init__(self, recording: Recording) -> None:
        """Raises ``UsageError`` for a recording that was cut off."""
        recording = recording.whole()
        self.recording = recording
        self.subject = recording.subject
        self.name = f"{SCHEME}:{self.subject.device}"
        names = Names(self.subject)
        self.player = Player(Script.of(list(recording.records)), names, self.subject.config, self.name)
        self._domain = ReplayDomain(self.subject)
        self._events = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(3)]

    @classmethod
    def open(cls, path: Path) -> ReplayFunction:
        """From a file. Raises ``UsageError`` for what is no whole recording."""
        return cls(load(path))

    def __repr__(self) -> str:
        return f"<ReplayFunction {self.name}, {len(self.recording.records)} records>"

    def check_done(self) -> None:
        """Raise ``DeviceError`` unless the driver did all that was recorded."""
        if self.player.left:
            what = f"{self.player.left} recorded writes and resets were not done"
            raise DeviceError(what, device=self.name, cause=self.player.left_where)

    # PciFunction

    @property
    def config(self) -> Window:
        return ReplayWindow(self, "config", len(self.subject.config))

    def bar(self, index: int) -> Window:
        if index not in self.subject.bars:
            raise DeviceError(f"BAR {index} is not implemented", device=self.name)
        return ReplayWindow(self, f"bar{index}", self.subject.bars[index])

    @property
    def dma(self) -> DmaDomain:
        return self._domain

    @property
    def vectors(self) -> int:
        return self.subject.vectors

    def set_irq(self, vector: int, fd: int | None) -> None:
        del fd
        if not 0 <= vector < self.vectors:
            raise DeviceError(f"vector {vector} does not exist", device=self.name)

    def ioeventfd(self, bar: int, offset: int, width: int, value: int, fd: int | None) -> None:
        del fd
        error = self.player.script.binds.get((bar, offset, width, value), "Unsupported: it was not recorded")
        if error:
            raise Unsupported(f"no eventfd can be bound to BAR {bar}+{offset:#x}", device=self.name, cause=error)

    def doorbell(self, bar: int, offset: int, width: int, value: int) -> Doorbell:
        """An eventfd that nobody listens to."""
        del bar, offset, width
        fields = {"kind": lib.VDP_DOORBELL_EVENTFD, "value": value, "fd": self._events[2]}
        return Doorbell(ffi.new("struct vdp_doorbell *", fields), self)

    def reset(self) -> None:
        self.check_open()
        self.player.reset()

    def mark(self, text: str) -> None:
        self.player.seek(text)

    @property
    def error_event(self) -> int:
        return self._events[0]

    @property
    def release_event(self) -> int:
        return self._events[1]

    def diagnose(self) -> str:
        return "a recording, not the device itself"

    def close(self) -> None:
        if not self._events:
            return
        if self.player.left:
            log.info("%s: %d recorded writes and resets were not done", self.name, self.player.left)
        for fd in self._events:
            os.close(fd)
        self._events.clear()
        self._domain.close()

    def check_open(self) -> None:
        """Raises ``StateError`` after close."""
        if not self._events:
            raise StateError("the recording is closed", device=self.name)
