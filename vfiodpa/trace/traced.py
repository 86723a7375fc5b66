"""A function whose every call is told to sinks: a recorder's file, the tail that a report shows.

What does not come by here is not seen: doorbells that C threads, the kernel or a guest ring, interrupts (the device
signals the user's eventfd itself: a tap between the two would be a thread that delays each one), and DMA.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import VfiodpaError
from ..memory import Iova
from ..memory import Mapping as Memory
from ..pci.function import DmaDomain, DmaFault, Doorbell, IovaRange, PciFunction, Perm, SharedPage
from ..registers import Window
from .records import (
    Access,
    Bind,
    Counters,
    Failed,
    Handle,
    Interrupt,
    Map,
    Mark,
    Message,
    Page,
    Record,
    Reset,
    Sink,
    Unmap,
    Vector,
)

T = TypeVar("T")
now = time.monotonic_ns


def words(error: BaseException) -> str:
    """An error as it is recorded: its class and what it says."""
    return f"{type(error).__name__}: {error.what if isinstance(error, VfiodpaError) else error}"


@dataclass(frozen=True, slots=True)
class TracedWindow:
    """A window whose accesses are told. Reads when they are done, writes before they are made."""

    inner: Window
    space: str
    tell: Sink

    @property
    def length(self) -> int:
        """Bytes of the window."""
        return self.inner.length

    def read(self, offset: int, width: int) -> int:
        try:
            value = self.inner.read(offset, width)
        except Exception as error:
            self.tell(Access(self.space, offset, width, 0, write=False, at=now(), error=words(error)))
            raise
        self.tell(Access(self.space, offset, width, value, write=False, at=now()))
        return value

    def write(self, offset: int, width: int, value: int) -> None:
        self.tell(Access(self.space, offset, width, int(value), write=True, at=now()))
        try:
            self.inner.write(offset, width, value)
        except Exception as error:
            self.tell(Failed(at=now(), error=words(error)))
            raise


class TracedDomain(DmaDomain):
    """A DMA domain whose maps are told; ``inner`` stays its owner's."""

    def __init__(self, inner: DmaDomain, tell: Sink) -> None:
        self.inner = inner
        self._tell = tell

    @property
    def kind(self) -> str:
        return self.inner.kind

    @property
    def reason(self) -> str:
        return self.inner.reason

    @property
    def isolates(self) -> bool:
        return self.inner.isolates

    @property
    def iova_ranges(self) -> Sequence[IovaRange]:
        return self.inner.iova_ranges

    def map(self, iova: Iova, memory: Memory, offset: int = 0, length: int | None = None, perm: Perm = Perm.RW) -> None:
        size = memory.length - offset if length is None else length

        def told(error: str) -> Record:
            return Map(int(iova), size, int(perm), at=now(), error=error)

        done(self._tell, lambda: self.inner.map(iova, memory, offset, length, perm), told)

    def unmap(self, iova: Iova, length: int) -> None:
        done(
            self._tell,
            lambda: self.inner.unmap(iova, length),
            lambda error: Unmap(int(iova), length, at=now(), error=error),
        )

    def faults(self) -> Sequence[DmaFault]:
        return self.inner.faults()

    def close(self) -> None:
        self.inner.close()


def done(tell: Sink, act: Callable[[], T], record: Callable[[str], Record]) -> T:
    """Act, and tell how it ended."""
    try:
        result = act()
    except Exception as error:
        tell(record(words(error)))
        raise
    tell(record(""))
    return result


def innermost(function: PciFunction) -> PciFunction:
    """What is behind all tracing."""
    while isinstance(function, TracedFunction):
        function = function.inner
    return function


class TracedFunction(PciFunction):
    """Tells ``sinks`` of every call and passes it on. ``owns``: closing it closes ``inner``; ``on_close`` follows."""

    def __init__(
        self, inner: PciFunction, *sinks: Sink, owns: bool = True, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self.inner = inner
        self.sinks = list(sinks)
        self.name = inner.name
        self._owns = owns
        self._on_close = on_close
        self._dma: TracedDomain | None = None

    def __repr__(self) -> str:
        return f"<TracedFunction {self.inner!r}>"

    def tell(self, record: Record) -> None:
        """To every sink."""
        for sink in self.sinks:
            sink(record)

    # What is told on behalf of others

    def mark(self, text: str) -> None:
        self.tell(Mark(text, at=now()))
        self.inner.mark(text)

    def message(self, way: str, data: bytes, fds: int) -> None:
        """A vhost-user message went by."""
        self.tell(Message(way, data.hex(), fds, at=now()))

    def interrupt(self, vector: int, count: int) -> None:
        """Whoever holds the vector's eventfd found it signalled."""
        self.tell(Interrupt(vector, count, at=now()))

    def count(self, values: Mapping[str, Any]) -> None:
        """Counters as they stand now."""
        self.tell(Counters(dict(values), at=now()))

    # PciFunction

    @property
    def config(self) -> Window:
        return TracedWindow(self.inner.config, "config", self.tell)

    def bar(self, index: int) -> Window:
        return TracedWindow(self.inner.bar(index), f"bar{index}", self.tell)

    @property
    def dma(self) -> DmaDomain:
        inner = self.inner.dma
        if self._dma is None or self._dma.inner is not inner:
            self._dma = TracedDomain(inner, self.tell)
        return self._dma

    @property
    def vectors(self) -> int:
        return self.inner.vectors

    def set_irq(self, vector: int, fd: int | None) -> None:
        done(
            self.tell,
            lambda: self.inner.set_irq(vector, fd),
            lambda error: Vector(vector, fd is not None, at=now(), error=error),
        )

    def msix_off(self) -> None:
        self.inner.msix_off()

    def ioeventfd(self, bar: int, offset: int, width: int, value: int, fd: int | None) -> None:
        done(
            self.tell,
            lambda: self.inner.ioeventfd(bar, offset, width, value, fd),
            lambda error: Bind(bar, offset, width, int(value), fd is not None, at=now(), error=error),
        )

    def doorbell(self, bar: int, offset: int, width: int, value: int) -> Doorbell:
        return done(
            self.tell,
            lambda: self.inner.doorbell(bar, offset, width, value),
            lambda error: Handle(bar, offset, width, int(value), at=now(), error=error),
        )

    def doorbell_page(self, bar: int, offset: int) -> SharedPage:
        return done(
            self.tell,
            lambda: self.inner.doorbell_page(bar, offset),
            lambda error: Page(bar, offset, at=now(), error=error),
        )

    def reset(self) -> None:
        done(self.tell, self.inner.reset, lambda error: Reset(at=now(), error=error))

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
        if not self._owns:
            return
        try:
            self.inner.close()
        finally:
            self._on_close()
