"""Register accesses of a check in words: the names and meanings of vfiodpa/trace, a line each.

write      common.device_status             0x0f  ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK
read       common.queue_size                0x0100  queue 1
write      notify+0x4                       0x0001  queue 1
"""

from __future__ import annotations

from collections.abc import Iterable

from ..pci.function import PciFunction
from ..trace import records
from ..trace.file import Subject
from ..trace.lines import rows
from ..trace.names import Names
from .trace import Access


class Decoder:
    """Knows where a device has its structures."""

    def __init__(self, function: PciFunction) -> None:
        self._subject = Subject.of(function)

    def lines(self, accesses: Iterable[Access]) -> list[str]:
        """A line for each, oldest first; bytes of one capability share one."""
        kept = list(accesses)
        found = rows(Names(self._subject), map(_record, kept))
        return [f"{row.line}{_times(kept[row.number - 1])}" for row in found]


def _record(access: Access) -> records.Record:
    if access.space == "reset":
        return records.Reset()
    return records.Access(
        space=access.space, offset=access.offset, width=access.width, value=access.value, write=access.write
    )


def _times(access: Access) -> str:
    return f"  ({access.times} times)" if access.times > 1 else ""
