"""Answers with a chain of capabilities behind them: GET_REGION_INFO and the type1 GET_INFO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from ..errors import DeviceError
from ..ioctl import Ioctl
from ..layout import Layout
from ..spec.vfio import CapHeader

L = TypeVar("L", bound=Layout)

_MAX_CAPS = 64  # far more than the kernel defines: more means that the chain loops


def ask(call: Ioctl[L], fd: int, argument: L) -> tuple[L, bytes]:
    """Ask twice when the answer wants more room; returns it decoded, and all its bytes."""
    reply = call.call(fd, argument)
    wanted = reply.argument.values["argsz"]
    if wanted > argument.size:
        values = dict(argument.values) | {"argsz": wanted}
        reply = call.call(fd, type(argument)(**values), bytes(wanted - argument.size))
    return reply.argument, reply.argument.pack() + reply.tail


def caps(answer: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """(id, bytes from the capability on) in chain order; ``offset`` 0: none."""
    for _ in range(_MAX_CAPS):
        if not offset:
            return
        if offset + CapHeader.size > len(answer):
            raise DeviceError(f"the kernel's answer of {len(answer)} bytes has a capability at {offset:#x}")
        header = CapHeader.unpack(answer[offset:])
        yield header.cap_id, answer[offset:]
        offset = header.next
    raise DeviceError("the kernel's capability chain loops")


def table(data: bytes, head: type[Layout], row: type[L], count: int) -> list[L]:
    """``count`` rows behind a capability's fixed part."""
    starts = range(head.size, head.size + count * row.size, row.size)
    return [row.unpack(data[at:]) for at in starts]
