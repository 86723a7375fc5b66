"""Records in words: registers by their declared names, values by the names of their flags, features, messages.

A decoder follows a recording from its beginning: which feature word and which queue an access is about was said by
an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum, IntFlag
from typing import Any

from ..pci.function import Perm
from ..registers import AnyRegister, RegisterArray
from ..spec.features import names as feature_names
from ..spec.virtio_pci import NO_VECTOR, CommonCfg
from .file import Subject
from .messages import describe
from .places import Place, places
from .records import Access, Bind, Counters, Handle, Interrupt, Map, Mark, Message, Page, Record, Unmap, Vector

SELECTS = {"device_feature": "device_feature_select", "driver_feature": "driver_feature_select"}
VECTORS = ("config_msix_vector", "queue_msix_vector")


@dataclass(frozen=True, slots=True)
class Line:
    """One record in words: ``what`` it was, the ``name`` of the register (or other thing), and what it says."""

    record: Record
    what: str
    name: str
    text: str

    def __str__(self) -> str:
        text = f"{self.what:<10} {self.name:<32} {self.text}".rstrip()
        return f"{text}  ({self.record.error})" if self.record.error else text

    def to_json(self) -> dict[str, Any]:
        """The record's own fields too."""
        raw = self.record
        own = {one.name: getattr(raw, one.name) for one in fields(raw) if one.name not in ("write", "error")}
        body = {"kind": self.what, "name": self.name, "meaning": self.text, **own}
        return body | ({"error": raw.error} if raw.error else {})


class Names:
    """Decodes the records of one function, in their order."""

    def __init__(self, subject: Subject) -> None:
        self._places = places(subject)
        self._selected: dict[str, int] = {}

    def line(self, record: Record) -> Line:
        """In words."""
        what = {"r": "read", "w": "write"}.get(record.word, record.word)
        if isinstance(record, Access):
            return Line(record, what, *self._access(record))
        return Line(record, what, *(self._notification(record) or _words(record)))

    def _notification(self, record: Record) -> tuple[str, str] | None:
        """Of doorbells and vectors: which, and what of it."""
        match record:
            case Vector():
                return f"vector {record.vector}", "attached" if record.on else "detached"
            case Interrupt():
                return f"vector {record.vector}", f"{record.count} times"
            case Bind():
                state = "bound" if record.on else "taken back"
                return self._where(record.bar, record.offset), f"{record.value:#x}: {state}"
            case Handle():
                return self._where(record.bar, record.offset), f"{record.value:#x}: given to C threads"
            case Page():
                return self._where(record.bar, record.offset), "given to a guest"
        return None

    def _where(self, bar: int, offset: int) -> str:
        place = self.place(f"bar{bar}", offset)
        return f"{place.name}+{offset - place.base:#x}" if place else f"bar{bar}+{offset:#x}"

    def place(self, space: str, offset: int) -> Place | None:
        """What lies there."""
        return next((place for place in self._places if place.holds(space, offset)), None)

    def _access(self, record: Access) -> tuple[str, str]:
        """Name and value."""
        plain = f"{record.value:#0{2 + record.width // 4}x}"
        place = self.place(record.space, record.offset)
        if place is None:
            return f"{record.space}+{record.offset:#x}", plain
        offset = record.offset - place.base
        register = place.block.lookup(offset) if place.block else None
        if register is None:
            return self._other(place, record, offset, plain)
        part = _part(register, offset, record.width)
        name = f"{place.name}.{register.name}{part}"
        if place.name == "common":
            meaning = self._common(register.name, record)
        else:
            meaning = _meaning(register, record.value) if not part else ""
        return name, f"{plain}  {meaning}".rstrip()

    def _other(self, place: Place, record: Access, offset: int, plain: str) -> tuple[str, str]:
        if place.layout:
            field = next((f for f in place.layout.fields if f.offset <= offset < f.offset + f.size), None)
            if field is None:
                return f"{place.name}+{offset:#x}", plain
            part = "" if record.width == 8 * field.size else f"[{(offset - field.offset) * 8 // record.width}]"
            return f"{place.name}.{field.name}{part}", plain
        if place.block:
            return f"{place.name}+{offset:#x}", plain
        return f"{place.name}+{offset:#x}", f"{plain}  {_bell(record)}"

    def _common(self, name: str, record: Access) -> str:
        """Of the common configuration: with what was selected before."""
        if record.write and name.endswith("_select"):
            self._selected[name] = record.value
        if name in SELECTS:
            word = self._selected.get(SELECTS[name], 0)
            return " ".join(feature_names(record.value << 32 * word)) if word < 64 else ""
        if name.startswith("queue_") and name != "queue_select":
            of = f"queue {self._selected.get('queue_select', 0)}"
            return f"{of}: NO_VECTOR" if name in VECTORS and record.value == NO_VECTOR else of
        if name in VECTORS and record.value == NO_VECTOR:
            return "NO_VECTOR"
        register = next(r for r in CommonCfg.registers() if r.name == name)
        return _meaning(register, record.value)


def _words(record: Record) -> tuple[str, str]:
    """Of what is neither register nor notification."""
    match record:
        case Map() | Unmap():
            span = f"{record.iova:#x}-{record.iova + record.length - 1:#x}"
            return span, (Perm(record.perm).name or "") if isinstance(record, Map) else ""
        case Message():
            return describe(record)
        case Mark():
            return record.text, ""
        case Counters():
            return "", " ".join(f"{name}={value}" for name, value in _flat(record.values).items())
    return "", ""


def _part(register: AnyRegister, offset: int, width: int) -> str:
    """Which element or half, and whether the width is the declared one."""
    at = offset - register.offset
    if isinstance(register, RegisterArray):
        index, at = divmod(at, register.stride)
        text, own = f"[{index}]", register.width
    else:
        own = min(register.width, 32)
        text = ("", "[high]")[at // 4] if register.width == 64 else ""
        at %= max(own // 8, 1)
    return text if (at, width) == (0, own) else f"{text} ({width} bits{f' at +{at}' if at else ''})"


def _meaning(register: AnyRegister, value: int) -> str:
    kind = None if isinstance(register, RegisterArray) else register.kind
    if isinstance(kind, type) and issubclass(kind, IntFlag):
        return " ".join(flag.name or "" for flag in kind if flag & value) or ("none" if not value else "")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next((one.name for one in kind if one.value == value), "")
    return ""


def _bell(record: Access) -> str:
    """What was rung (4.1.5.2): a queue; with NOTIFICATION_DATA (2.9) also where its ring ends."""
    if record.width == 32:
        return f"queue {record.value & 0xFFFF}, next {record.value >> 16 & 0x7FFF}, wrap {record.value >> 31}"
    return f"queue {record.value}"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested counters with dotted names; zeros are left out."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            found |= _flat(value, f"{name}.")
        elif isinstance(value, list):
            for index, one in enumerate(value):
                found |= _flat(one, f"{name}[{index}].") if isinstance(one, dict) else {f"{name}[{index}]": one}
        elif value:
            found[name] = value
    return found
