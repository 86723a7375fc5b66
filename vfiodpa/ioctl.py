"""ioctls: request number and argument structure bound together, so that they cannot be mixed up.

    IOAS_MAP = ioctl(";", 0x85, IoasMap)      # _IO: VFIO and iommufd carry the size in the argument
    GET_INFO = iowr(0x81, 0x15, VqInfo)       # _IOWR: the size is part of the number
    reply = GET_INFO(fd, VqInfo(index=0))
    GET_DEVICE_FD = plain(";", 0x6A)          # no structure: an integer or a string, and the answer is the result

Ref: Linux uapi asm-generic/ioctl.h (the layout used by x86-64 and arm64).
"""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from .layout import Layout

L = TypeVar("L", bound=Layout)

_NONE, _WRITE, _READ = 0, 1, 2


def _number(direction: int, kind: str | int, nr: int, size: int) -> int:
    letter = ord(kind) if isinstance(kind, str) else kind
    if not (0 <= letter < 1 << 8 and 0 <= nr < 1 << 8 and 0 <= size < 1 << 14):
        raise ValueError(f"ioctl ({kind!r}, {nr:#x}) with {size} bytes does not fit an ioctl number")
    return direction << 30 | size << 16 | letter << 8 | nr


class Reply(NamedTuple, Generic[L]):
    """``value`` is what the call returned; ``argument`` and the bytes behind it are as the kernel left them."""

    value: int
    argument: L
    tail: bytes


@dataclass(frozen=True, slots=True)
class Ioctl(Generic[L]):
    """One ioctl: call it with an fd and its argument; returns the argument as the kernel left it."""

    number: int
    argument: type[L]

    def __call__(self, fd: int, argument: L) -> L:
        """Raises ``OSError`` as the kernel answers, ``TypeError`` for another ioctl's argument."""
        return self.call(fd, argument).argument

    def call(self, fd: int, argument: L, tail: bytes = b"") -> Reply[L]:
        """The same with bytes behind the structure, for those of variable length."""
        if type(argument) is not self.argument:
            raise TypeError(f"ioctl {self.number:#x} takes {self.argument.__name__}, not {type(argument).__name__}")
        buffer = bytearray(argument.pack() + tail)
        value = fcntl.ioctl(fd, self.number, buffer, True)
        return Reply(value, self.argument.unpack(buffer), bytes(buffer[self.argument.size :]))


@dataclass(frozen=True, slots=True)
class PlainIoctl:
    """An ioctl without a structure: its argument is an integer or a string, its answer the call's result."""

    number: int

    def __call__(self, fd: int, argument: int | str = 0) -> int:
        """Raises ``OSError`` as the kernel answers. An fd that it returns is the caller's."""
        if isinstance(argument, str):
            return int(fcntl.ioctl(fd, self.number, bytearray(argument.encode() + b"\0"), True))
        return int(fcntl.ioctl(fd, self.number, argument))


def ioctl(kind: str | int, nr: int, argument: type[L]) -> Ioctl[L]:
    """``_IO``: no direction and no size in the number."""
    return Ioctl(_number(_NONE, kind, nr, 0), argument)


def plain(kind: str | int, nr: int) -> PlainIoctl:
    """``_IO`` with an integer, a string or nothing."""
    return PlainIoctl(_number(_NONE, kind, nr, 0))


def ior(kind: str | int, nr: int, argument: type[L]) -> Ioctl[L]:
    """``_IOR``: the kernel writes the argument."""
    return Ioctl(_number(_READ, kind, nr, argument.size), argument)


def iow(kind: str | int, nr: int, argument: type[L]) -> Ioctl[L]:
    """``_IOW``: the kernel reads the argument."""
    return Ioctl(_number(_WRITE, kind, nr, argument.size), argument)


def iowr(kind: str | int, nr: int, argument: type[L]) -> Ioctl[L]:
    """``_IOWR``: the kernel reads and writes the argument."""
    return Ioctl(_number(_READ | _WRITE, kind, nr, argument.size), argument)
