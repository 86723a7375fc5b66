"""Which driver a function gets: by its PCI ids, the most specific pattern first, or by name."""

from __future__ import annotations

from dataclasses import replace

from ..errors import Unsupported, UsageError
from ..pci.function import PciFunction
from .device import VdpaDevice
from .ifcvf import IFCVF
from .quirks import GENERIC, PciId, Quirks
from .softnic import SOFTNIC
from .transport import check_present
from .virtio_pci import VirtioPci
from .waiting import Deadlines

_records: dict[str, Quirks] = {}


def register(record: Quirks) -> None:
    """Add a driver. Raises ``UsageError`` when its name or one of its patterns is taken."""
    if record.name in _records:
        raise UsageError(f"there is a driver {record.name!r} already")
    for known in _records.values():
        for pattern in set(known.ids) & set(record.ids):
            raise UsageError(f"drivers {known.name!r} and {record.name!r} both claim {pattern}")
    _records[record.name] = record


def drivers() -> dict[str, Quirks]:
    """All drivers by name."""
    return dict(_records)


def record_for(ids: PciId) -> Quirks | None:
    """The record with the most specific pattern that fits the ids."""
    fits = [(p.specificity, r.name) for r in _records.values() for p in r.ids if p.matches(ids)]
    return _records[max(fits)[1]] if fits else None


def driver_for(function: PciFunction, name: str | None = None, deadlines: Deadlines | None = None) -> VdpaDevice:
    """Open a driver on a function; ``name`` overrides the choice by ids.

    Raises ``Unsupported`` when no driver knows the ids, and what the driver finds wrong.
    """
    check_present(function)
    ids = PciId.of(function)
    if name is None:
        record = record_for(ids)
        if record is None:
            raise Unsupported(f"no driver knows PCI ids {ids}", device=function.name, remedy=f"driver={GENERIC.name}")
    elif name in _records:
        record = replace(_records[name], ids=(ids,))  # whoever names a driver vouches for the ids
    else:
        raise UsageError(f"no driver is called {name!r}; there are {', '.join(sorted(_records))}")
    return VirtioPci(function, record, deadlines or Deadlines())


for _record in (GENERIC, SOFTNIC, IFCVF):
    register(_record)
