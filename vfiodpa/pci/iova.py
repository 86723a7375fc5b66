"""I/O address ranges in words."""

from __future__ import annotations

from collections.abc import Sequence

from .function import IovaRange


def hole(ranges: Sequence[IovaRange], first: int, last: int) -> str:
    """The first stretch outside ``ranges`` that the addresses ``first`` to ``last`` touch."""
    start = 0
    for usable in sorted(ranges, key=lambda r: r.first):
        if start <= last and usable.first > max(start, first):
            return f"{start:#x}-{usable.first - 1:#x}"
        start = max(start, usable.last + 1)
    return f"everything from {start:#x}"
