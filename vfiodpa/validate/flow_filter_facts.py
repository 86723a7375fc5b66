"""What a device says of its flow filter, for ``vfiodpa show``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import VfiodpaError
from ..pci.function import PciFunction
from ..spec.features import Feature
from ..spec.virtio_flow_filter import FfAction, FfHeader, FfMaskFlag
from .bench import Bench, drop_memory, make_memory
from .flow_filter import FlowFilter
from .verdict import Finding, NotApplicable

ASK_S = 5.0


def describe_flow_filter(function: PciFunction) -> dict[str, Any]:
    """Its limits, headers and actions; empty without one; ``problem``: why the device did not tell.

    The device is asked over its administration queue: it is reset before and after, and its driver has to begin anew.
    """
    try:
        with _asking(function) as bench:
            return _facts(FlowFilter.start(bench)) if Feature(bench.device.offered) & Feature.ADMIN_VQ else {}
    except NotApplicable:
        return {}
    except (Finding, VfiodpaError, ValueError) as error:
        return {"problem": str(error)}


@contextmanager
def _asking(function: PciFunction) -> Iterator[Bench]:
    memory, read_only, write_only = make_memory(function)
    try:
        bench = Bench(function, memory, read_only, write_only, deadline=time.monotonic() + ASK_S)
        try:
            yield bench
        finally:
            _leave(bench)
    finally:
        drop_memory(function, memory)


def _leave(bench: Bench) -> None:
    bench.deadline = 0.0
    try:
        if bench.touched:
            bench.device.reset()
    finally:
        bench.close()


def _facts(flows: FlowFilter) -> dict[str, Any]:
    limits = {name: value for name, value in flows.resources.values.items() if name != "reserved"}
    partial = [type for type, one in flows.selectors.items() if one.flags & FfMaskFlag.PARTIAL_MASK]
    return {
        **limits,
        "headers": [_name(FfHeader, type) for type in flows.selectors],
        "partial_masks": [_name(FfHeader, type) for type in partial],
        "actions": [_name(FfAction, action) for action in flows.actions],
    }


def _name(kind: type[FfHeader | FfAction], number: int) -> str:
    return kind(number).name if number in kind.__members__.values() else f"{number:#x}"
