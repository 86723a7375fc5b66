"""Register blocks: the class body is the table in the specification.

    class CommonCfg(RegisterBlock, size=0x40, ref="virtio 1.3, 4.1.4.3"):
        device_status = reg(0x14, 8, DeviceStatus)

    cfg = CommonCfg(window)            # window: anything with read(offset, width), write(...)
    cfg.device_status |= DeviceStatus.DRIVER

Width and mode belong to the register because the specification makes the access width a MUST
(virtio 1.3, 4.1.3.1). Overlap, misalignment and size mistakes are found when the class is made;
a value that does not fit raises and is never masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, overload

from .errors import StateError, VfiodpaError

T = TypeVar("T", bound=int)
Mode = Literal["rw", "ro", "wo", "rc"]  # rc: read-only, and reading clears it


class Window(Protocol):
    """A stretch of registers. Offsets in bytes, widths in bits (8, 16 or 32)."""

    @property
    def length(self) -> int: ...

    def read(self, offset: int, width: int) -> int: ...

    def write(self, offset: int, width: int, value: int) -> None: ...


@dataclass(frozen=True, slots=True)
class SubWindow:
    """Part of another window; an access past its end raises ``IndexError``."""

    parent: Window
    base: int
    length: int

    def read(self, offset: int, width: int) -> int:
        return self.parent.read(self._locate(offset, width), width)

    def write(self, offset: int, width: int, value: int) -> None:
        self.parent.write(self._locate(offset, width), width, value)

    def _locate(self, offset: int, width: int) -> int:
        if offset < 0 or offset + width // 8 > self.length:
            raise IndexError(f"{width}-bit access at {offset:#x} leaves a window of {self.length:#x} bytes")
        return self.base + offset


class Register(Generic[T]):
    """One register: offset in bytes, width in bits, access mode and the type of its value."""

    __slots__ = ("kind", "mode", "name", "offset", "owner", "width")

    def __init__(self, offset: int, width: int, kind: Callable[[int], T], mode: Mode) -> None:
        self.offset = offset
        self.width = width
        self.kind = kind
        self.mode = mode
        self.name = ""
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.owner = owner.__name__

    def __repr__(self) -> str:
        return f"<{self.owner}.{self.name} {self.offset:#04x} {self.width}-bit {self.mode}>"

    @property
    def size(self) -> int:
        """Bytes that the register covers."""
        return self.width // 8

    @overload
    def __get__(self, block: None, owner: type) -> Register[T]: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> T: ...
    def __get__(self, block: RegisterBlock | None, owner: type) -> Register[T] | T:
        return self if block is None else self.load(block)

    def __set__(self, block: RegisterBlock, value: int) -> None:
        self.store(block, value)

    def load(self, block: RegisterBlock) -> T:
        """Read the register; 64 bits are two 32-bit reads, low first (virtio 1.3, 4.1.3.1)."""
        if self.mode == "wo":
            raise AttributeError(f"{self.owner}.{self.name} is write-only")
        window = block.window_for(self)
        if self.width == 64:
            return self.kind(window.read(self.offset, 32) | window.read(self.offset + 4, 32) << 32)
        return self.kind(window.read(self.offset, self.width))

    def store(self, block: RegisterBlock, value: int) -> None:
        """Write the register; 64 bits are two 32-bit writes, low first."""
        if self.mode in ("ro", "rc"):
            raise AttributeError(f"{self.owner}.{self.name} is read-only")
        value = self.fit(value)
        window = block.window_for(self)
        if self.width == 64:
            window.write(self.offset, 32, value & 0xFFFF_FFFF)
            window.write(self.offset + 4, 32, value >> 32)
        else:
            window.write(self.offset, self.width, value)

    def fit(self, value: int) -> int:
        """Return ``value`` as an int, or raise when it exceeds the register."""
        value = int(value)
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{self.owner}.{self.name}: {value:#x} exceeds {self.width} bits")
        return value


class RegisterArray:
    """``count`` registers of one width, ``stride`` bytes apart (default: packed)."""

    __slots__ = ("count", "mode", "name", "offset", "owner", "stride", "width")

    def __init__(self, offset: int, width: int, count: int, mode: Mode, stride: int) -> None:
        self.offset = offset
        self.width = width
        self.count = count
        self.mode = mode
        self.stride = stride or width // 8
        self.name = ""
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.owner = owner.__name__

    @property
    def size(self) -> int:
        """Bytes from the first element to the end of the last."""
        return (self.count - 1) * self.stride + self.width // 8

    def element(self, index: int) -> Register[int]:
        """The register at ``index``."""
        if not 0 <= index < self.count:
            raise IndexError(f"{self.owner}.{self.name}[{index}]: it has {self.count} elements")
        one = Register(self.offset + index * self.stride, self.width, int, self.mode)
        one.name, one.owner = f"{self.name}[{index}]", self.owner
        return one

    @overload
    def __get__(self, block: None, owner: type) -> RegisterArray: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> BoundArray: ...
    def __get__(self, block: RegisterBlock | None, owner: type) -> RegisterArray | BoundArray:
        return self if block is None else BoundArray(self, block)


@dataclass(frozen=True, slots=True)
class BoundArray:
    """A register array of one block: index it to read, assign to an index to write."""

    array: RegisterArray
    block: RegisterBlock

    def __len__(self) -> int:
        return self.array.count

    def __getitem__(self, index: int) -> int:
        return self.array.element(index).load(self.block)

    def __setitem__(self, index: int, value: int) -> None:
        self.array.element(index).store(self.block, value)

    def __iter__(self) -> Iterator[int]:
        return (self[i] for i in range(len(self)))


@overload
def reg(offset: int, width: int, kind: None = None, *, mode: Mode = "rw") -> Register[int]: ...
@overload
def reg(offset: int, width: int, kind: Callable[[int], T], *, mode: Mode = "rw") -> Register[T]: ...
def reg(offset: int, width: int, kind: Any = None, *, mode: Mode = "rw") -> Register[Any]:
    """Declare a register at a byte offset, ``width`` bits wide."""
    return Register(offset, width, int if kind is None else kind, mode)


def reg_array(offset: int, width: int, count: int, *, mode: Mode = "rw", stride: int = 0) -> RegisterArray:
    """Declare ``count`` registers from a byte offset, ``stride`` bytes apart."""
    return RegisterArray(offset, width, count, mode, stride)


AnyRegister = Register[Any] | RegisterArray

_NOT_DUMPED = {"wo": "(write-only)", "rc": "(reading clears it)"}


class RegisterBlock:
    """Base of all register blocks. ``size`` is the size in bytes that the specification gives."""

    size: ClassVar[int] = 0
    ref: ClassVar[str] = ""
    _table: ClassVar[tuple[AnyRegister, ...]] = ()

    def __init_subclass__(cls, *, size: int, ref: str = "") -> None:
        super().__init_subclass__()
        own = [v for v in vars(cls).values() if isinstance(v, Register | RegisterArray)]
        for register in own:
            if hasattr(RegisterBlock, register.name):
                raise TypeError(f"{cls.__name__}.{register.name}: the mechanism needs that name itself")
        cls.size, cls.ref = size, ref
        cls._table = tuple(sorted([*cls._table, *own], key=lambda r: r.offset))
        end, last = 0, ""
        for register in cls._table:
            _check_shape(cls.__name__, register)
            if register.offset < end:
                raise TypeError(f"{cls.__name__}.{register.name} overlaps {last} at {register.offset:#x}")
            end, last = register.offset + register.size, register.name
        if end > size:
            raise TypeError(f"{cls.__name__}.{last} ends at {end:#x}, past the block's {size:#x} bytes")

    def __init__(self, window: Window) -> None:
        self._window = window

    def __repr__(self) -> str:
        """A table of the registers as they stand; for prompts, because it reads the device."""
        title = f"{type(self).__name__} ({self.ref})"
        present = [r for r in self._table if self.has(r)]
        wide = max((len(r.name) for r in present), default=0)
        try:
            rows = [f"  {r.offset:#06x}  {r.name:<{wide}}  {self._shown(r)}".rstrip() for r in present]
        except VfiodpaError as error:
            return f"<{title}: {error}>"
        return "\n".join([title, *rows])

    def _shown(self, register: AnyRegister) -> str:
        """The value for people; nothing is read that reading would change."""
        if register.mode in _NOT_DUMPED:
            return _NOT_DUMPED[register.mode]
        if isinstance(register, RegisterArray):
            first = [f"{register.element(i).load(self):#0{_digits(register)}x}" for i in range(min(register.count, 8))]
            return " ".join(first) + (f" ... ({register.count} in all)" if register.count > len(first) else "")
        value = register.load(self)
        text = f"{int(value):#0{_digits(register)}x}"
        return f"{text}  {value.name or ''}" if isinstance(value, Enum) else text

    @classmethod
    def registers(cls) -> tuple[AnyRegister, ...]:
        """All registers by rising offset: the same table serves dumps, traces and the software NIC."""
        return cls._table

    @classmethod
    def lookup(cls, offset: int) -> AnyRegister | None:
        """The register that covers a byte offset."""
        return next((r for r in cls._table if r.offset <= offset < r.offset + r.size), None)

    def has(self, register: AnyRegister) -> bool:
        """Is the register inside the window? Devices of older specifications present fewer bytes."""
        return register.offset + register.size <= self._window.length

    def window_for(self, register: AnyRegister) -> Window:
        """The window to access ``register`` through; raises when the device does not present it."""
        if not self.has(register):
            raise StateError(
                f"{type(self).__name__}.{register.name} is not there: the device presents "
                f"{self._window.length:#x} bytes, the register lies at {register.offset:#x}"
            )
        return self._window

    def dump(self) -> dict[str, int | list[int]]:
        """Every register that is present, by name, but those that cannot be read or that reading clears."""
        present = [r for r in self._table if r.mode not in _NOT_DUMPED and self.has(r)]
        return {r.name: list(BoundArray(r, self)) if isinstance(r, RegisterArray) else r.load(self) for r in present}


def _digits(register: AnyRegister) -> int:
    return 2 + register.width // 4


def _check_shape(block: str, register: AnyRegister) -> None:
    if register.width not in (8, 16, 32, 64):
        raise TypeError(f"{block}.{register.name}: no access is {register.width} bits wide")
    align = min(register.width // 8, 4)  # 64-bit fields are accessed as two 32-bit ones
    if register.offset % align:
        raise TypeError(f"{block}.{register.name} at {register.offset:#x} is not {align}-byte aligned")
