"""The last accesses before something went wrong: what a report shows around a failure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from .lines import Counted, rows
from .names import Names
from .records import Access, Record, Reset

KEEP = 100


@dataclass(slots=True)
class Tail:
    """A sink that keeps the last ``KEEP`` accesses; a poll counts as one, so that it pushes nothing out."""

    kept: deque[Counted] = field(default_factory=lambda: deque(maxlen=KEEP))

    def __call__(self, record: Record) -> None:
        """One more; notifications and maps are not kept."""
        if not isinstance(record, Access | Reset):
            return
        if self.kept and _same(self.kept[-1][0], record):
            last, times = self.kept[-1]
            self.kept[-1] = last, times + 1
        else:
            self.kept.append((record, 1))

    def clear(self) -> None:
        """Forget."""
        self.kept.clear()

    def lines(self, names: Names) -> list[str]:
        """In words, oldest first."""
        return [row.words for row in rows(names, self.kept)]


def _same(last: Record, record: Record) -> bool:
    return isinstance(record, Access) and not record.write and replace(record, at=last.at) == last
