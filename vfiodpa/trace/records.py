"""What can be recorded, one class for each kind, and its line in a file.

A line is a JSON array: time in ns since the recording began, the kind's word, the fields in order. ``error`` (last,
left out when empty) is how the call ended: ``Unsupported: it cannot be reset on its own``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Base of all. ``at`` in ns."""

    kind: ClassVar[str] = ""
    at: int = 0
    error: str = ""

    @property
    def word(self) -> str:
        """The kind, in the file."""
        return self.kind

    def to_json(self) -> list[Any]:
        """The line's array."""
        own = [getattr(self, one.name) for one in fields(self) if one.name not in ("at", "error", "write")]
        return [self.at, self.word, *own, *([self.error] if self.error else [])]

    @classmethod
    def from_json(cls, at: int, word: str, rest: list[Any]) -> Record:
        """The other way round. Raises ``ValueError`` for another number of fields, or fields of other types."""
        own = [one for one in fields(cls) if one.name not in ("at", "error", "write")]
        values = dict(zip((one.name for one in own), rest, strict=False))
        if not len(own) <= len(rest) <= len(own) + 1:
            raise ValueError(f"{word} has {len(own)} fields, not {len(rest)}")
        for one in own:
            if type(values[one.name]).__name__ != str(one.type).partition("[")[0]:
                raise ValueError(f"{word}: {one.name} is no {one.type}")
        if len(rest) > len(own):
            values["error"] = str(rest[-1])
        if cls is Access:
            values["write"] = word == "w"
        return cls(at=at, **values)


Sink = Callable[[Record], None]


@dataclass(frozen=True, slots=True)
class Access(Record):
    """One register access. ``space`` is config, or bar0 to bar5; offset in bytes, width in bits."""

    kind = "access"
    space: str
    offset: int
    width: int
    value: int
    write: bool

    @property
    def word(self) -> str:
        return "w" if self.write else "r"


@dataclass(frozen=True, slots=True)
class Failed(Record):
    """How the last write ended, when it did not just return: writes are recorded before they are made."""

    kind = "failed"


@dataclass(frozen=True, slots=True)
class Vector(Record):
    """An eventfd was attached to a vector, or taken back."""

    kind = "irq"
    vector: int
    on: bool


@dataclass(frozen=True, slots=True)
class Interrupt(Record):
    """Whoever holds a vector's eventfd found it signalled ``count`` times."""

    kind = "interrupt"
    vector: int
    count: int


@dataclass(frozen=True, slots=True)
class Bind(Record):
    """An eventfd was bound to a doorbell, or taken back."""

    kind = "ioeventfd"
    bar: int
    offset: int
    width: int
    value: int
    on: bool


@dataclass(frozen=True, slots=True)
class Handle(Record):
    """A doorbell was given to a C thread: how often that rings is not seen here."""

    kind = "doorbell"
    bar: int
    offset: int
    width: int
    value: int


@dataclass(frozen=True, slots=True)
class Page(Record):
    """A page of doorbells was given to a guest: its accesses are not seen here."""

    kind = "page"
    bar: int
    offset: int


@dataclass(frozen=True, slots=True)
class Map(Record):
    """Memory was mapped for the device; ``perm`` as in ``Perm``."""

    kind = "map"
    iova: int
    length: int
    perm: int


@dataclass(frozen=True, slots=True)
class Unmap(Record):
    """And taken back."""

    kind = "unmap"
    iova: int
    length: int


@dataclass(frozen=True, slots=True)
class Reset(Record):
    """The function was reset."""

    kind = "reset"


@dataclass(frozen=True, slots=True)
class Message(Record):
    """A vhost-user message. ``way``: see ``WAYS``; ``data``: header and payload, hexadecimal; ``fds``: how many."""

    kind = "vhost"
    way: str
    data: str
    fds: int


WAYS = {
    "<-": "a request of the front end",
    "->": "our answer",
    "=>": "a request of ours, on the channel for them",
    "<=": "its acknowledgement",
}


@dataclass(frozen=True, slots=True)
class Mark(Record):
    """A new part of the work begins: a check of the conformance suite, for example."""

    kind = "mark"
    text: str


@dataclass(frozen=True, slots=True)
class Counters(Record):
    """Counters at a moment: what C threads did stands only here."""

    kind = "counters"
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End(Record):
    """The recording is whole; ``count``: the records before this one."""

    kind = "end"
    count: int


_CLASSES = (Failed, Vector, Interrupt, Bind, Handle, Page, Map, Unmap, Reset, Message, Mark, Counters, End)
KINDS: Mapping[str, type[Record]] = {"r": Access, "w": Access, **{one.kind: one for one in _CLASSES}}


def parse(line: list[Any]) -> Record:
    """A line's array as a record. Raises ``ValueError`` for what is none."""
    if len(line) < 2 or type(line[0]) is not int or line[1] not in KINDS:
        raise ValueError(f"{str(line)[:60]} is no record")
    return KINDS[line[1]].from_json(line[0], line[1], line[2:])
