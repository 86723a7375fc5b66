"""Resource objects of a device: what the driver created, and what depends on what.

Ref: virtio 1.4, 2.12.1 (Device resource objects)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from .refusal import EXISTS, IN_USE, INVALID_FIELD, NO_ROOM, NO_SUCH, Failed

Key = tuple[int, int]  # type, id


@dataclass(frozen=True, slots=True)
class Object:
    """``data`` as the driver gave them; ``needs``: objects that have to be there as long as this one."""

    data: bytes
    needs: tuple[Key, ...] = ()


class Kind(Protocol):
    """One type of object. The driver's capability says how many there may be."""

    @property
    def ids(self) -> int:
        """Ids are below this."""

    @property
    def most(self) -> int:
        """So many at once."""

    def must_be_enabled(self) -> None:
        """Raises ``Failed`` unless the driver enabled all of its capabilities."""

    def make(self, id: int, data: bytes, /) -> Object:
        """From the command's data, behind which anything may follow; raises ``Failed``."""


class ObjectTable:
    """All objects of a device. ``changed`` is called after each change, with the table as it then is."""

    def __init__(self, kinds: Mapping[int, Kind], changed: Callable[[], None]) -> None:
        self.kinds = kinds
        self.objects: dict[Key, Object] = {}
        self._changed = changed

    def clear(self) -> None:
        """Device reset."""
        self.objects.clear()

    def of(self, type: int) -> dict[int, Object]:
        """Those of a type, by id."""
        return {id: one for (kind, id), one in self.objects.items() if kind == type}

    def create(self, type: int, id: int, data: bytes) -> None:
        """Raises ``Failed``, as the others do: then nothing has changed."""
        kind = self._kind(type)
        if (type, id) in self.objects:
            raise Failed(*EXISTS)
        if id >= kind.ids or len(self.of(type)) >= kind.most:
            raise Failed(*NO_ROOM)
        self._put((type, id), kind.make(id, data))

    def modify(self, type: int, id: int, data: bytes) -> None:
        """Give it other data."""
        self._free((type, id))
        self._put((type, id), self._kind(type).make(id, data))

    def query(self, type: int, id: int) -> bytes:
        """Its data."""
        return self._get((type, id)).data

    def destroy(self, type: int, id: int) -> None:
        """Its id can be used again."""
        self._free((type, id))
        del self.objects[type, id]
        self._changed()

    def _put(self, key: Key, made: Object) -> None:
        if not all(need in self.objects for need in made.needs):
            raise Failed(*INVALID_FIELD)
        self.objects[key] = made
        self._changed()

    def _kind(self, type: int) -> Kind:
        if type not in self.kinds:
            raise Failed(*INVALID_FIELD)
        self.kinds[type].must_be_enabled()
        return self.kinds[type]

    def _get(self, key: Key) -> Object:
        self._kind(key[0])
        if key not in self.objects:
            raise Failed(*NO_SUCH)
        return self.objects[key]

    def _free(self, key: Key) -> None:
        """It is there, and nothing depends on it."""
        self._get(key)
        if any(key in one.needs for one in self.objects.values()):
            raise Failed(*IN_USE)
