"""The last register accesses of a check, with names: what a report shows around a failure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..pci.function import DmaDomain, Doorbell, PciFunction, SharedPage
from ..registers import Window

KEEP = 60


@dataclass(frozen=True, slots=True)
class Access:
    """One access: ``space`` is config, or bar0 to bar5."""

    space: str
    offset: int
    width: int
    value: int
    write: bool


@dataclass(slots=True)
class Tail:
    """Keeps the last ``KEEP`` accesses."""

    accesses: deque[Access] = field(default_factory=lambda: deque(maxlen=KEEP))

    def clear(self) -> None:
        """Forget."""
        self.accesses.clear()


@dataclass(frozen=True, slots=True)
class TracedWindow:
    """A window whose accesses are kept."""

    inner: Window
    space: str
    tail: Tail

    @property
    def length(self) -> int:
        """Bytes of the window."""
        return self.inner.length

    def read(self, offset: int, width: int) -> int:
        value = self.inner.read(offset, width)
        self.tail.accesses.append(Access(self.space, offset, width, value, write=False))
        return value

    def write(self, offset: int, width: int, value: int) -> None:
        self.tail.accesses.append(Access(self.space, offset, width, value, write=True))
        self.inner.write(offset, width, value)


class TracedFunction(PciFunction):
    """A function whose register accesses are kept; everything else goes through. Does not own ``inner``."""

    def __init__(self, inner: PciFunction, tail: Tail) -> None:
        self.inner = inner
        self.tail = tail
        self.name = inner.name

    @property
    def config(self) -> Window:
        return TracedWindow(self.inner.config, "config", self.tail)

    def bar(self, index: int) -> Window:
        return TracedWindow(self.inner.bar(index), f"bar{index}", self.tail)

    @property
    def dma(self) -> DmaDomain:
        return self.inner.dma

    @property
    def vectors(self) -> int:
        return self.inner.vectors

    def set_irq(self, vector: int, fd: int | None) -> None:
        self.inner.set_irq(vector, fd)

    def ioeventfd(self, bar: int, offset: int, width: int, value: int, fd: int | None) -> None:
        self.inner.ioeventfd(bar, offset, width, value, fd)

    def doorbell(self, bar: int, offset: int, width: int, value: int) -> Doorbell:
        return self.inner.doorbell(bar, offset, width, value)

    def doorbell_page(self, bar: int, offset: int) -> SharedPage:
        return self.inner.doorbell_page(bar, offset)

    def reset(self) -> None:
        self.inner.reset()

    @property
    def error_event(self) -> int:
        return self.inner.error_event

    @property
    def release_event(self) -> int:
        return self.inner.release_event

    def diagnose(self) -> str:
        return self.inner.diagnose()

    def counters(self) -> Mapping[str, Any]:
        return self.inner.counters()

    def close(self) -> None:
        """The inner function stays its opener's."""
