"""ioctls: request number and argument structure bound together, so that they cannot be mixed up.

    IOAS_MAP = ioctl(";", 0x85, IoasMap)      # _IO: VFIO and iommufd carry the size in the argument
    GET_INFO = iowr(0x81, 0x15, VqInfo)       # _IOWR: the size is part of the number
    reply = GET_INFO(fd, VqInfo(index=0))

Ref: Linux uapi asm-generic/ioctl.h (the layout used by x86-64 and arm64).
"""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from typing import Generic, TypeVar

from .layout import Layout

L = TypeVar("L", bound=Layout)

_NONE, _WRITE, _READ = 0, 1, 2


def _number(direction: int, kind: str | int, nr: int, size: int) -> int:
    letter = ord(kind) if isinstance(kind, str) else kind
    if not (0 <= letter < 1 << 8 and 0 <= nr < 1 << 8 and 0 <= size < 1 << 14):
        raise ValueError(f"ioctl ({kind!r}, {nr:#x}) with {size} bytes does not fit an ioctl number")
    return direction << 30 | size << 16 | letter << 8 | nr


@dataclass(frozen=True, slots=True)
class Ioctl(Generic[L]):
    """One ioctl: call it with an fd and its argument; returns the argument as the kernel left it."""

    number: int
    argument: type[L]

    def __call__(self, fd: int, argument: L) -> L:
        """Raises ``OSError`` as the kernel answers, ``TypeError`` for another ioctl's argument."""
        if type(argument) is not self.argument:
            raise TypeError(f"ioctl {self.number:#x} takes {self.argument.__name__}, not {type(argument).__name__}")
        buffer = bytearray(argument.pack())
        fcntl.ioctl(fd, self.number, buffer, True)
        return self.argument.unpack(buffer)


def ioctl(kind: str | int, nr: int, argument: type[L]) -> Ioctl[L]:
    """``_IO``: no direction and no size in the number."""
    return Ioctl(_number(_NONE, kind, nr, 0), argument)


def ior(kind: str | int, nr: int, argument: type[L]) -> Ioctl[L]:
    """``_IOR``: the kernel writes the argument."""
    return Ioctl(_number(_READ, kind, nr, argument.size), argument)


def iow(kind: str | int, nr: int, argument: type[L]) -> Ioctl[L]:
    """``_IOW``: the kernel reads the argument."""
    return Ioctl(_number(_WRITE, kind, nr, argument.size), argument)


def iowr(kind: str | int, nr: int, argument: type[L]) -> Ioctl[L]:
    """``_IOWR``: the kernel reads and writes the argument."""
    return Ioctl(_number(_READ | _WRITE, kind, nr, argument.size), argument)
