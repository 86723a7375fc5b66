"""A recording as lines: decoded, filtered, with polls and structures that were read byte by byte on one line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .names import Line, Names
from .places import Place
from .records import KINDS, Access, End, Record

KIND_WORDS = tuple({"r": "read", "w": "write"}.get(word, word) for word in KINDS)


@dataclass(frozen=True, slots=True)
class Row:
    """A line that stands for ``times`` records; ``number`` is the first one's, from 1."""

    number: int
    line: Line
    times: int = 1

    @property
    def words(self) -> str:
        """Without number and time."""
        often = f"  ({self.times} times)" if self.times > 1 and not isinstance(self.line, Run) else ""
        return f"{self.line}{often}"

    def __str__(self) -> str:
        return f"{self.number:>6} {self.line.record.at / 1e9:12.6f}  {self.words}"


@dataclass(frozen=True, slots=True)
class Run(Line):
    """Bytes that were read one after another."""


Counted = tuple[Record, int]  # and how often it came in a row


def counted(records: Iterable[Record]) -> Iterator[Counted]:
    """Each once; without the last line, which is for the reader of the file."""
    return ((record, 1) for record in records if not isinstance(record, End))


def rows(names: Names, records: Iterable[Counted], *, fold: bool = True) -> Iterator[Row]:
    """One for each record, or (``fold``) for each poll and each structure."""
    waiting: list[Row] = []
    for number, (record, times) in enumerate(records, 1):
        row = Row(number, names.line(record), times)
        if fold and waiting and (_same(waiting[-1], row) or _follows(names, waiting[-1], row)):
            waiting.append(row)
            continue
        yield from _one(names, waiting)
        waiting = [row]
    yield from _one(names, waiting)


def select(found: Iterable[Row], *, registers: Iterable[str] = (), kinds: Iterable[str] = ()) -> Iterator[Row]:
    """Those whose register's name fits a pattern (``common.queue_*``, or without the block's name), and of a kind."""
    patterns, wanted = list(registers), set(kinds)
    for row in found:
        if wanted and row.line.what not in wanted:
            continue
        if patterns and not any(_fits(row.line, pattern) for pattern in patterns):
            continue
        yield row


def _fits(line: Line, pattern: str) -> bool:
    name = line.name.partition(" (")[0]
    short = name.partition(".")[2]
    return any(fnmatchcase(one, pattern) for one in (name, short, short.partition("[")[0]) if one)


def _one(names: Names, waiting: list[Row]) -> Iterator[Row]:
    if not waiting:
        return
    first = waiting[0]
    if len(waiting) > 1 and not _same(first, waiting[1]):
        yield Row(first.number, _run(names, [row.line for row in waiting]), len(waiting))
    else:
        yield Row(first.number, first.line, sum(row.times for row in waiting))


def _same(last: Row, row: Row) -> bool:
    """Is it the same read again?"""
    one, two = last.line, row.line
    return (one.what, one.name, one.text) == (two.what, two.name, two.text) and two.what in (
        "read",
        "vhost",
        "interrupt",
    )


def _follows(names: Names, last: Row, row: Row) -> bool:
    """Is it the next byte of the same capability?"""
    one, two = last.line.record, row.line.record
    if not (isinstance(one, Access) and isinstance(two, Access)):
        return False
    place = _capability(names, two)
    bytewise = (one.width, two.width, one.write, two.write, two.offset) == (8, 8, False, False, one.offset + 1)
    return bytewise and place is not None and place == _capability(names, one)


def _capability(names: Names, access: Access) -> Place | None:
    place = names.place(access.space, access.offset)
    return place if place and place.layout and not place.block else None


def _run(names: Names, lines: list[Line]) -> Line:
    """The bytes as the structure that they are, as far as they were read."""
    accesses = [line.record for line in lines if isinstance(line.record, Access)]
    first = accesses[0]
    raw = bytes(one.value for one in accesses)
    place = _capability(names, first)
    text = raw.hex(" ")
    name = lines[0].name.partition(".")[0]
    if place and place.layout and first.offset == place.base and len(raw) > 2:
        values = place.layout.unpack(raw.ljust(place.layout.size, b"\0")).values
        read = [one for one in place.layout.fields if one.offset + one.size <= len(raw) and not one.count]
        text = " ".join(f"{one.name}={values[one.name]:#x}" for one in read)
    return Run(first, "read", name, text)
