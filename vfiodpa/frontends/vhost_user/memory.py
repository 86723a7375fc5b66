"""The guest's memory table: ownership of mappings, changes in one step, and address translation.

Ref: vhost-user, "Memory region description" and "SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG".
A change is planned first (validated, mapped, checked with the core) and then applied; when the core
refuses a region half-way, the old table is put back.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field

from ...errors import ProtocolViolation, VfiodpaError
from ...memory import Gpa, Mapping
from ...spec.vhost_user import MAX_MEM_SLOTS
from ..frontend import Backend, Region
from .fds import close_all
from .place import Place, WireRegion, check_table, place_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a table: regions that go and regions that come (mapped already)."""

    gone: list[Place] = field(default_factory=list)
    new: dict[Place, Region] = field(default_factory=dict)


class MemoryTable:
    """The regions of one guest; the only owner of their mappings and fds."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._regions: dict[Place, Region] = {}
        self._removed: deque[Place] = deque(maxlen=MAX_MEM_SLOTS)

    def to_gpa(self, uaddr: int, length: int, what: str) -> Gpa:
        """Translate ``length`` bytes that must lie inside one region."""
        for place in self._regions:
            if place.uaddr <= uaddr and uaddr + length <= place.uaddr + place.length:
                return Gpa(place.gpa + uaddr - place.uaddr)
        raise ProtocolViolation(f"{what} at {uaddr:#x} ({length:#x} bytes) is not inside one memory region")

    # Planning: takes the fds over, and changes nothing when it raises.

    def plan_replace(self, regions: Sequence[WireRegion], fds: list[int]) -> Change:
        """SET_MEM_TABLE. Regions that stay the same keep their mapping."""
        return self._plan(set(), regions, fds)

    def plan_add(self, region: WireRegion, fd: int) -> Change:
        """ADD_MEM_REG. QEMU 7.2 repeats each message for each queue pair, so the same again changes nothing."""
        return self._plan(self._regions.keys(), [region], [fd])

    def plan_remove(self, region: WireRegion) -> Change:
        """REM_MEM_REG: found by its three addresses, whatever its offset says; again for each queue pair."""
        for place in self._regions:
            if place.same_addresses(region):
                return Change(gone=[place])
        if any(place.same_addresses(region) for place in self._removed):
            return Change()
        raise ProtocolViolation(
            f"no memory region at guest address {region.gpa:#x}, {region.length:#x} bytes, {region.uaddr:#x}"
        )

    def _plan(self, keep: Set[Place], regions: Sequence[WireRegion], fds: list[int]) -> Change:
        new: dict[Place, Region] = {}
        try:
            places = [place_of(region, fd) for region, fd in zip(regions, fds, strict=True)]
            check_table([*keep, *(place for place in places if place not in keep)])
            for place in places:
                fd = fds.pop(0)
                if place in self._regions:
                    close_all([fd])
                else:
                    new[place] = _map(place, fd)
            if new:
                self._backend.check_regions(list(new.values()))
        except BaseException:
            close_all(fds)
            _unmap(new.values())
            raise
        after = keep | set(places)
        return Change([place for place in self._regions if place not in after], new)

    # Applying

    def apply(self, change: Change, before: Callable[[list[Region]], None]) -> None:
        """Make it so, after ``before`` was told which regions go.

        When that or the core refuses, the old table is back and the error is raised.
        """
        self._regions.update(change.new)  # owned from here on, whatever happens
        added: list[Region] = []
        removed: list[Place] = []
        try:
            before([self._regions[place] for place in change.gone])
            for place in change.gone:
                self._backend.remove_region(self._regions[place])
                removed.append(place)
            for region in change.new.values():
                self._backend.add_region(region)
                added.append(region)
        except BaseException:
            self._roll_back(added, removed)
            self._drop(change.new)
            raise
        self._drop(change.gone)
        self._removed.extend(change.gone)

    def _roll_back(self, added: list[Region], removed: list[Place]) -> None:
        for region in added:
            self._backend.remove_region(region)
        for place in removed:
            try:
                self._backend.add_region(self._regions[place])
            except VfiodpaError as error:
                log.warning("the %s is lost: it could not be put back: %s", place, error)
                self._drop([place])

    def _drop(self, places: Iterable[Place]) -> None:
        _unmap([self._regions.pop(place) for place in places])

    def close(self) -> None:
        """Unmap everything; after the core let go of it."""
        regions, self._regions = self._regions, {}
        _unmap(regions.values())


def _map(place: Place, fd: int) -> Region:
    return Region(Gpa(place.gpa), place.length, Mapping(fd, place.length, fd_offset=place.offset))


def _unmap(regions: Iterable[Region]) -> None:
    for region in regions:
        region.memory.close()
