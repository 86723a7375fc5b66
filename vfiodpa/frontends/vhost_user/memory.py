"""The guest's memory table: ownership of mappings, changes in one step, and address translation.

Ref: vhost-user, "Memory region description" and "SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG".
A change is planned first (validated, mapped, checked with the core) and then applied; when the core
refuses a region half-way, the old table is put back.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import ProtocolViolation, VfiodpaError
from ...memory import Gpa, Mapping
from ...spec.vhost_user import MAX_MEM_SLOTS
from ..frontend import Backend, Region
from .fds import close_all
from .place import Place, WireRegion, check_table, place_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Slot:
    """A mapped region."""

    place: Place
    region: Region


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a table: regions that go and regions that come."""

    gone: list[Slot]
    new: list[Slot]


class MemoryTable:
    """The regions of one guest; the only owner of their mappings and fds."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._slots: list[Slot] = []
        self._removed: deque[Place] = deque(maxlen=MAX_MEM_SLOTS)

    def __len__(self) -> int:
        return len(self._slots)

    def to_gpa(self, uaddr: int, length: int, what: str) -> Gpa:
        """Translate ``length`` bytes that must lie inside one region."""
        for slot in self._slots:
            place = slot.place
            if place.uaddr <= uaddr and uaddr + length <= place.uaddr + place.length:
                return Gpa(place.gpa + uaddr - place.uaddr)
        raise ProtocolViolation(f"{what} at {uaddr:#x} ({length:#x} bytes) is not inside one memory region")

    # Planning: takes the fds over, and changes nothing when it raises.

    def plan_replace(self, regions: Sequence[WireRegion], fds: list[int]) -> Change:
        """SET_MEM_TABLE. Regions that stay the same keep their mapping."""
        return self._plan([], regions, fds)

    def plan_add(self, region: WireRegion, fd: int) -> Change:
        """ADD_MEM_REG. QEMU 7.2 repeats each message for each queue pair, so the same again changes nothing."""
        return self._plan(self._slots, [region], [fd])

    def plan_remove(self, region: WireRegion) -> Change:
        """REM_MEM_REG: found by its three addresses, whatever its offset says; again for each queue pair."""
        for slot in self._slots:
            if slot.place.same_addresses(region):
                return Change([slot], [])
        if any(place.same_addresses(region) for place in self._removed):
            return Change([], [])
        raise ProtocolViolation(
            f"no memory region at guest address {region.gpa:#x}, {region.length:#x} bytes, {region.uaddr:#x}"
        )

    def _plan(self, keep: list[Slot], regions: Sequence[WireRegion], fds: list[int]) -> Change:
        new: list[Slot] = []
        try:
            places = [place_of(region, fd) for region, fd in zip(regions, fds, strict=True)]
            kept = [slot.place for slot in keep]
            check_table(kept + [place for place in places if place not in kept])
            after = list(keep)
            for place in places:
                fd = fds.pop(0)
                slot = self._find(place)
                if slot is None:
                    slot = _map(place, fd)
                    new.append(slot)
                else:
                    close_all([fd])
                after.append(slot)
            if new:
                self._backend.check_regions([slot.region for slot in new])
        except BaseException:
            close_all(fds)
            _unmap(new)
            raise
        return Change([slot for slot in self._slots if slot not in after], new)

    def _find(self, place: Place) -> Slot | None:
        return next((slot for slot in self._slots if slot.place == place), None)

    # Applying

    def apply(self, change: Change, before: Callable[[list[Region]], None]) -> None:
        """Make it so, after ``before`` was told which regions go.

        When that or the core refuses, the old table is back and the error is raised.
        """
        self._slots = self._slots + change.new  # owned from here on, whatever happens
        added: list[Slot] = []
        removed: list[Slot] = []
        try:
            before([slot.region for slot in change.gone])
            for slot in change.gone:
                self._backend.remove_region(slot.region)
                removed.append(slot)
            for slot in change.new:
                self._backend.add_region(slot.region)
                added.append(slot)
        except BaseException:
            self._roll_back(added, removed)
            self._drop(change.new)
            raise
        self._drop(change.gone)
        self._removed.extend(slot.place for slot in change.gone)

    def _roll_back(self, added: list[Slot], removed: list[Slot]) -> None:
        for slot in added:
            self._backend.remove_region(slot.region)
        for slot in removed:
            try:
                self._backend.add_region(slot.region)
            except VfiodpaError as error:
                log.warning("the %s is lost: it could not be put back: %s", slot.place, error)
                self._drop([slot])

    def _drop(self, slots: list[Slot]) -> None:
        self._slots = [slot for slot in self._slots if slot not in slots]
        _unmap(slots)

    def close(self) -> None:
        """Unmap everything; after the core let go of it."""
        slots, self._slots = self._slots, []
        _unmap(slots)


def _map(place: Place, fd: int) -> Slot:
    memory = Mapping(fd, place.length, fd_offset=place.offset)
    return Slot(place, Region(Gpa(place.gpa), place.length, memory))


def _unmap(slots: list[Slot]) -> None:
    for slot in slots:
        slot.region.memory.close()
