"""Wait for file descriptors of any number: select() takes none above 1023, and a thousand NICs have more."""

from __future__ import annotations

import math
import select
from collections.abc import Sequence
from typing import Protocol, TypeVar


class HasFileno(Protocol):
    """A socket, for example."""

    def fileno(self) -> int: ...


T = TypeVar("T", bound=int | HasFileno)


def readable(waiting: Sequence[T], seconds: float | None = None) -> list[T]:
    """Those of ``waiting`` that can be read, or are broken, within ``seconds``; ``None``: however long it takes."""
    poll = select.poll()
    numbers = [item if isinstance(item, int) else item.fileno() for item in waiting]
    for number in numbers:
        poll.register(number, select.POLLIN)
    ready = {number for number, _ in poll.poll(None if seconds is None else math.ceil(seconds * 1000))}
    return [item for item, number in zip(waiting, numbers, strict=True) if number in ready]
