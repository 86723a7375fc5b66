"""The counters of a served device as one JSON object, schema ``vfiodpa.report/1``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..drivers.device import VdpaDevice
from ..errors import LimitError, errno_name


def report(device: VdpaDevice) -> dict[str, Any]:
    """Counters of the driver and of the function (the software NIC: ``workers``, ``queues``, ``tsc_hz``)."""
    return {
        "schema": "vfiodpa.report/1",
        "device": device.name,
        "driver": dict(device.stats()),
        **device.function.counters(),
    }


def write_report(device: VdpaDevice, path: Path) -> None:
    """Write the report beside ``path`` and rename it, so that a reader never sees half of one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(report(device), indent=2) + "\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LimitError(
            f"cannot write the report {path}", device=device.name, cause=errno_name(error.errno or 0)
        ) from error
