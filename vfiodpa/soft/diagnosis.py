"""Why the software NIC stopped, in one line.

Ref: csrc/nic.h, enum vdp_nic_error_code.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from ..pci.function import DmaFault
from .engine import EngineError


class ErrorCode(IntEnum):
    """Twin of enum vdp_nic_error_code."""

    OK = 0
    AVAIL_JUMP = 1
    BAD_HEAD = 2
    LOOP = 3
    BAD_INDIRECT = 4
    BAD_ORDER = 5
    BAD_LENGTH = 6
    DMA_FAULT = 7
    MEMORY_GONE = 8
    BAD_RING = 9
    BAD_WRAP = 10


_E = ErrorCode

_TEXT: dict[int, Callable[[int], str]] = {
    _E.AVAIL_JUMP: lambda detail: f"available index {detail} jumped by more than the queue's size",
    _E.BAD_HEAD: lambda detail: f"descriptor index {detail} is outside the table",
    _E.LOOP: lambda detail: f"descriptor chain loops (head {detail})",
    _E.BAD_INDIRECT: lambda detail: f"bad indirect table ({detail} bytes)",
    _E.BAD_ORDER: lambda detail: f"buffer of the wrong direction, or readable after writable (head {detail})",
    _E.BAD_LENGTH: lambda detail: f"buffer lengths make no frame ({detail} bytes)",
    _E.DMA_FAULT: lambda detail: f"access to {detail:#x} stopped by the IOMMU",
    _E.MEMORY_GONE: lambda _detail: "the guest's memory is gone (truncated)",
    _E.BAD_RING: lambda detail: f"ring at {detail:#x} is not aligned",
    _E.BAD_WRAP: lambda detail: f"chain runs into a descriptor that is not available (position {detail:#x})",
}


def explain(error: EngineError, fault: DmaFault | None) -> str:
    """One line; empty when there is no error. ``fault`` is the domain's latest."""
    if not error:
        return ""
    text = _TEXT.get(error.code)
    what = text(error.detail) if text else f"error {error.code} (detail {error.detail:#x})"
    line = f"queue {error.queue}: {what}"
    if error.code == _E.DMA_FAULT and fault is not None:
        line += f"; last fault: {fault.perm.name} of {fault.length} bytes at {fault.iova:#x}"
    return line
