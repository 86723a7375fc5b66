"""Layouts of memory and messages: dense structures with a byte order, checked against a written size.

    class SplitDesc(Layout, size=16, ref="virtio 1.3, 2.7.5"):
        addr  = le64
        len   = le32
        flags = le16
        next  = le16

    SplitDesc(addr=0x1000, len=64).pack()   # 16 private bytes
    SplitDesc.dtype                         # a numpy dtype for tables of them

``le*`` is virtio memory; ``u*`` is the host's byte order (ioctls and vhost-user messages). Pack and
unpack work on *private* bytes: shared memory is only touched through csrc/ (docs/memory-rules.md).
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar, Self, overload

import numpy as np

_HOST = sys.byteorder

# Attributes of Layout itself: a field of that name would hide them, or be hidden.
_RESERVED = frozenset({"size", "ref", "fields", "dtype", "values", "pack", "unpack", "offset_of"})


class Field:
    """An integer field of 1, 2, 4 or 8 bytes in a given byte order, or a run of them."""

    __slots__ = ("count", "name", "offset", "order", "width")

    def __init__(self, width: int, order: str, count: int = 0) -> None:
        self.width = width
        self.order = order
        self.count = count  # 0: a single integer
        self.name = ""
        self.offset = 0

    @property
    def size(self) -> int:
        """Bytes that the field covers."""
        return self.width * max(self.count, 1)

    @overload
    def __get__(self, layout: None, owner: type) -> Field: ...
    @overload
    def __get__(self, layout: Layout, owner: type) -> int: ...
    def __get__(self, layout: Layout | None, owner: type) -> Field | int:
        return self if layout is None else layout.values[self.name]

    def __set__(self, layout: Layout, value: int) -> None:
        layout.values[self.name] = self.fit(value, type(layout).__name__)

    def bind(self, name: str, offset: int) -> Field:
        """The copy of this field that a layout owns."""
        copy = type(self)(self.width, self.order, self.count)
        copy.name, copy.offset = name, offset
        return copy

    def fit(self, value: Any, where: str) -> Any:
        """Check a value (an int, or a sequence of ``count`` ints) and return it."""
        if not self.count:
            return self._fit_one(value, where)
        items = tuple(value)
        if len(items) != self.count:
            raise ValueError(f"{where}.{self.name}: {len(items)} items, the specification says {self.count}")
        return tuple(self._fit_one(item, where) for item in items)

    def _fit_one(self, value: Any, where: str) -> int:
        number = int(value)
        if not 0 <= number < 1 << self.width * 8:
            raise ValueError(f"{where}.{self.name}: {number:#x} exceeds {self.width * 8} bits")
        return number

    def zero(self) -> Any:
        """The value of a field that was not given."""
        return (0,) * self.count if self.count else 0

    def encode(self, value: Any) -> bytes:
        """The field's bytes."""
        items = value if self.count else (value,)
        return b"".join(int(item).to_bytes(self.width, self._byteorder) for item in items)

    def decode(self, data: bytes) -> Any:
        """The inverse of ``encode``."""
        parts = range(0, len(data), self.width)
        items = tuple(int.from_bytes(data[i : i + self.width], self._byteorder) for i in parts)
        return items if self.count else items[0]

    @property
    def _byteorder(self) -> Any:
        return {"<": "little", ">": "big", "=": _HOST}[self.order]

    @property
    def numpy_type(self) -> Any:
        """What a numpy dtype calls this field."""
        kind = f"{self.order}u{self.width}"
        return (kind, (self.count,)) if self.count else kind


class ArrayField(Field):
    """A run of integers; reads as a tuple."""

    __slots__ = ()

    @overload  # type: ignore[override]  # an array field reads as a tuple, not as an int
    def __get__(self, layout: None, owner: type) -> ArrayField: ...
    @overload
    def __get__(self, layout: Layout, owner: type) -> tuple[int, ...]: ...
    def __get__(self, layout: Layout | None, owner: type) -> ArrayField | tuple[int, ...]:
        return self if layout is None else layout.values[self.name]

    def __set__(self, layout: Layout, value: tuple[int, ...] | bytes) -> None:  # type: ignore[override]
        layout.values[self.name] = self.fit(value, type(layout).__name__)


le8 = Field(1, "<")
le16 = Field(2, "<")
le32 = Field(4, "<")
le64 = Field(8, "<")
be16 = Field(2, ">")
be32 = Field(4, ">")
u8 = Field(1, "=")
u16 = Field(2, "=")
u32 = Field(4, "=")
u64 = Field(8, "=")


def array(field: Field, count: int) -> ArrayField:
    """``count`` fields in a row, for example ``array(u8, 6)`` for a MAC address."""
    return ArrayField(field.width, field.order, count)


class Layout:
    """Base of all layouts. Fields not given are zero; values that do not fit raise ``ValueError``."""

    size: ClassVar[int] = 0
    ref: ClassVar[str] = ""
    fields: ClassVar[tuple[Field, ...]] = ()
    dtype: ClassVar[np.dtype[np.void]]

    def __init_subclass__(cls, *, size: int, ref: str = "") -> None:
        super().__init_subclass__()
        own = {name: field for name, field in vars(cls).items() if isinstance(field, Field)}
        for name in _RESERVED & set(own):
            raise TypeError(f"{cls.__name__}.{name}: the mechanism needs that name itself")
        bound = list(cls.fields)
        offset = sum(field.size for field in bound)
        for name, field in own.items():
            if offset % field.width:
                raise TypeError(f"{cls.__name__}.{name} at {offset:#x} is not {field.width}-byte aligned")
            bound.append(field.bind(name, offset))
            setattr(cls, name, bound[-1])
            offset += field.size
        cls.size, cls.ref = size, ref
        if offset != size:
            raise TypeError(f"{cls.__name__}: fields sum to {offset}, the specification says {size}")
        cls.fields = tuple(bound)
        cls.dtype = np.dtype([(f.name, f.numpy_type) if not f.count else (f.name, *f.numpy_type) for f in bound])

    def __init__(self, **values: Any) -> None:
        self.values: dict[str, Any] = {field.name: field.zero() for field in self.fields}
        for name, value in values.items():
            if name not in self.values:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)

    def __repr__(self) -> str:
        parts = (f"{n}={v:#x}" if isinstance(v, int) else f"{n}={v}" for n, v in self.values.items())
        return f"{type(self).__name__}({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Layout) and other.values == self.values

    __hash__ = None  # type: ignore[assignment]  # mutable

    def pack(self) -> bytes:
        """The structure's bytes."""
        return b"".join(field.encode(self.values[field.name]) for field in self.fields)

    @classmethod
    def unpack(cls, data: bytes | bytearray | memoryview) -> Self:
        """Decode the first ``size`` bytes; raises ``ValueError`` when there are fewer."""
        if len(data) < cls.size:
            raise ValueError(f"{cls.__name__} takes {cls.size} bytes, got {len(data)}")
        private = bytes(data[: cls.size])
        values = {f.name: f.decode(private[f.offset : f.offset + f.size]) for f in cls.fields}
        return cls(**values)

    @classmethod
    def offset_of(cls, name: str) -> int:
        """Byte offset of a field."""
        return next(field.offset for field in cls.fields if field.name == name)
