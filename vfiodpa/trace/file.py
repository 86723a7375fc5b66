"""A recording as a file: a line with who was recorded, then a line for each record (JSON).

    {"schema": "vfiodpa.trace/1", "device": "0000:3b:00.2", "config": "f41a4110...", "bars": {"0": 16384}, ...}
    [18230, "w", "bar0", 20, 8, 0]

Each line is written at once: of a process that is killed everything is there but the last line, ``End``.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from ..errors import DeviceError, LimitError, UsageError, errno_name
from ..pci.capabilities import capabilities, read_layout
from ..pci.function import IovaRange, PciFunction
from ..registers import Window
from ..spec.pci import CapId
from ..spec.virtio_pci import CfgType, PciCfgCap, VirtioPciCap
from .records import End, Record, parse
from .traced import TracedFunction, now

log = logging.getLogger(__name__)

SCHEMA = "vfiodpa.trace/1"
BARS = 6


@dataclass(frozen=True, slots=True)
class Subject:
    """Who was recorded: ``config`` is configuration space as it was, ``bars`` their lengths in bytes by index."""

    device: str
    config: bytes
    bars: dict[int, int]
    vectors: int
    iommu: str
    isolates: bool
    ranges: tuple[IovaRange, ...]
    started: str  # ISO 8601, UTC

    @classmethod
    def of(cls, function: PciFunction) -> Self:
        """Look at a function. Nothing is written, and nothing is read that reading would change."""
        return cls(
            function.name,
            image(function.config),
            _bars(function),
            function.vectors,
            function.dma.kind,
            function.dma.isolates,
            tuple(function.dma.iova_ranges),
            datetime.now(UTC).isoformat("T", "milliseconds"),
        )

    def to_json(self) -> dict[str, Any]:
        """The first line."""
        return {
            "schema": SCHEMA,
            "vfiodpa": version("vfiodpa"),
            "device": self.device,
            "started": self.started,
            "config": self.config.hex(),
            "bars": {str(index): length for index, length in self.bars.items()},
            "vectors": self.vectors,
            "iommu": {
                "kind": self.iommu,
                "isolates": self.isolates,
                "ranges": [[one.first, one.last] for one in self.ranges],
            },
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The other way round. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what is none."""
        iommu = data["iommu"]
        return cls(
            str(data["device"]),
            bytes.fromhex(data["config"]),
            {int(index): int(length) for index, length in data["bars"].items()},
            int(data["vectors"]),
            str(iommu["kind"]),
            bool(iommu["isolates"]),
            tuple(IovaRange(int(first), int(last)) for first, last in iommu["ranges"]),
            str(data["started"]),
        )


def image(config: Window) -> bytes:
    """Configuration space, but for the bytes through which virtio reads a BAR (4.1.4.9): they are left 0."""
    passed = range(0)
    try:
        for offset, kind in capabilities(config):
            if kind == CapId.VENDOR and offset + PciCfgCap.size <= config.length:
                cap = read_layout(config, offset, VirtioPciCap)
                if cap.cfg_type == CfgType.PCI:
                    passed = range(offset + VirtioPciCap.size, offset + PciCfgCap.size)
    except DeviceError as error:
        log.info("%s", error)  # what is wrong with the list is for others to say
    return b"".join(
        bytes(4) if at in passed else config.read(at, 32).to_bytes(4, "little") for at in range(0, config.length, 4)
    )


def _bars(function: PciFunction) -> dict[int, int]:
    found = {}
    for index in range(BARS):
        try:
            found[index] = function.bar(index).length
        except DeviceError:  # not implemented
            continue
    return found


class Recorder:
    """A sink that writes a file. A full disk ends the recording with a warning, never what is recorded."""

    def __init__(self, path: Path, subject: Subject) -> None:
        """Raises ``UsageError`` or ``LimitError`` when the file cannot be made."""
        self.path = path
        self._begin = now()
        self._count = 0
        self._lock = threading.Lock()
        try:
            self._file = path.open("wb", buffering=0)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise UsageError(
                f"cannot write {path}", cause=errno_name(error.errno or 0), remedy="another FILE"
            ) from error
        except OSError as error:
            raise LimitError(f"cannot write {path}", cause=errno_name(error.errno or 0)) from error
        self._write(subject.to_json())

    def __call__(self, record: Record) -> None:
        """Write it; nothing when closed."""
        line = record.to_json()
        line[0] = max(record.at - self._begin, 0)
        with self._lock:
            self._count += 1
            self._write(line)

    def close(self) -> None:
        """Write the last line; harmless when already closed."""
        if not self._file.closed:
            self(End(self._count, at=now()))
            self._file.close()

    def _write(self, line: object) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            log.warning("%s: the recording ends here: %s", self.path, errno_name(error.errno or 0))
            self._file.close()


def record(function: PciFunction, path: Path) -> TracedFunction:
    """Record a function, which is taken over: closing what this returns closes it, and the file."""
    recorder = Recorder(path, Subject.of(function))
    return TracedFunction(function, recorder, on_close=recorder.close)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was read. ``cut`` says how it is not whole; empty: it is."""

    path: Path
    subject: Subject
    records: Sequence[Record]
    cut: str = ""

    def whole(self) -> Self:
        """This, or ``UsageError`` when it was cut off."""
        if self.cut:
            raise UsageError("the recording is cut off", device=str(self.path), cause=self.cut)
        return self


def load(path: Path) -> Recording:
    """Read a recording. Raises ``UsageError`` for a file that is none, or that is damaged before its end."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError("cannot read the recording", device=str(path), cause=errno_name(error.errno or 0)) from error
    subject = _subject(path, lines[0])
    records: list[Record] = []
    cut = "" if lines[-1] == b"" else f"its last line ({len(lines)}) has no end"
    for number, line in enumerate(lines[1:-1], 2):
        try:
            records.append(parse(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise UsageError("a damaged recording", device=str(path), cause=f"line {number}: {error}") from error
    if not cut and not (records and isinstance(records[-1], End)):
        cut = f"it ends after record {len(records)} without the line that says so"
    return Recording(path, subject, records, cut)


def _subject(path: Path, line: bytes) -> Subject:
    what = "not a recording of vfiodpa"
    try:
        data = json.loads(line)
    except ValueError as error:
        raise UsageError(what, device=str(path), cause="its first line is no JSON") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise UsageError(what, device=str(path), cause=f"schema {schema!r}, expected {SCHEMA!r}")
    try:
        return Subject.from_json(data)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError("a damaged recording", device=str(path), cause=f"line 1: {error!r}") from error
