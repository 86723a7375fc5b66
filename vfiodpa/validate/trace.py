"""The last register accesses of a check: what a report shows around a failure (decode.py gives them names)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..pci.function import DmaDomain, Doorbell, PciFunction, SharedPage
from ..registers import Window

KEEP = 100


@dataclass(frozen=True, slots=True)
class Access:
    """One access: ``space`` is config, or bar0 to bar5; ``reset`` stands for a reset of the function.

    ``times``: how often it was made in a row, with the same value.
    """

    space: str
    offset: int
    width: int
    value: int
    write: bool
    times: int = 1


@dataclass(slots=True)
class Tail:
    """Keeps the last ``KEEP`` accesses; a poll counts as one, so that it does not push out what led to it."""

    accesses: deque[Access] = field(default_factory=lambda: deque(maxlen=KEEP))

    def add(self, access: Access) -> None:
        """One more."""
        last = self.accesses[-1] if self.accesses else None
        if last is not None and replace(last, times=1) == access:
            self.accesses[-1] = replace(last, times=last.times + 1)
        else:
            self.accesses.append(access)

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
        self.tail.add(Access(self.space, offset, width, value, write=False))
        return value

    def write(self, offset: int, width: int, value: int) -> None:
        self.tail.add(Access(self.space, offset, width, value, write=True))
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
        self.tail.add(Access("reset", 0, 0, 0, write=True))
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
