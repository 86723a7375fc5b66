"""A recording as a script: what a driver did, step by step, and what it read in between.

A step is a register write or a reset of the function: what changes the device. Reads belong to the step before them.
Between two steps each register has a stream of values of its own: a poll may look more or fewer times than the
recorded one (the last value stays), and reads of different registers may come in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .records import Access, Bind, Failed, Mark, Page, Record, Reset

Key = tuple[str, int, int]  # space, offset, width


@dataclass(slots=True)
class Step:
    """``record``: what the driver did to get here (``None``: it began); ``reads`` until the next one, by register."""

    number: int  # of the record, from 1
    record: Access | Reset | None = None
    error: str = ""
    reads: dict[Key, list[Access]] = field(default_factory=dict)


@dataclass(slots=True)
class Script:
    """``steps``, the first one of which is the beginning; ``marks``: the step at which each part of the work begins."""

    steps: list[Step]
    marks: dict[str, int]
    binds: dict[tuple[int, int, int, int], str]  # doorbells that eventfds were bound to, and how that ended
    pages: dict[tuple[int, int], str]

    @classmethod
    def of(cls, records: list[Record]) -> Script:
        """From the records of one function."""
        script = cls([Step(0)], {}, {}, {})
        for number, record in enumerate(records, 1):
            script._add(number, record)
        return script

    def _add(self, number: int, record: Record) -> None:
        last = self.steps[-1]
        match record:
            case Access(write=False):
                last.reads.setdefault((record.space, record.offset, record.width), []).append(record)
            case Access() | Reset():
                self.steps.append(Step(number, record, record.error))
            case Failed():
                last.error = record.error
            case Mark():
                self.steps.append(Step(number))  # what was read before is another part's
                self.marks.setdefault(record.text, len(self.steps) - 1)
            case Bind(on=True):
                self.binds.setdefault((record.bar, record.offset, record.width, record.value), record.error)
            case Page():
                self.pages.setdefault((record.bar, record.offset), record.error)

    def end_of(self, mark: str) -> int:
        """The step behind the last one of a part."""
        begin = self.marks[mark]
        return min((at for at in self.marks.values() if at > begin), default=len(self.steps))
