"""The counters of a served device as one JSON object, schema ``vfiodpa.report/1``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..drivers.device import VdpaDevice
from ..errors import LimitError, UsageError, errno_name
from ..whole_file import check_writable, write_whole


def report(device: VdpaDevice) -> dict[str, Any]:
    """Counters of the driver and of the function (the software NIC: ``workers``, ``queues``, ``tsc_hz``)."""
    return {
        "schema": "vfiodpa.report/1",
        "device": device.name,
        "driver": dict(device.stats()),
        **device.function.counters(),
    }


def check_report(device: VdpaDevice, path: Path) -> None:
    """Can it be written? Asked before guests come. Raises ``UsageError`` or ``LimitError``."""
    try:
        check_writable(path)
    except FileNotFoundError as error:
        raise UsageError(
            f"cannot write the report {path}", device=device.name, cause=errno_name(error.errno or 0),
            remedy=f"mkdir -p {path.parent}",
        ) from error  # fmt: skip
    except OSError as error:
        raise _refused(device, path, error) from error


def write_report(device: VdpaDevice, path: Path) -> None:
    """Write the report, or replace the one that is there. Raises ``LimitError``."""
    try:
        write_whole(path, json.dumps(report(device), indent=2) + "\n")
    except OSError as error:
        raise _refused(device, path, error) from error


def _refused(device: VdpaDevice, path: Path, error: OSError) -> LimitError:
    return LimitError(f"cannot write the report {path}", device=device.name, cause=errno_name(error.errno or 0))
