"""DMA that an IOMMU stopped, from the kernel's log: the NIC was told a wrong address, or unmapped too early."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

KMSG = Path("/dev/kmsg")
FAULT = re.compile(r"DMAR: .*fault|AMD-Vi: .*IO_PAGE_FAULT|virtio_iommu.*fault", re.IGNORECASE)


class FaultLog:
    """What was logged since it was entered; nothing where the log may not be read."""

    def __init__(self) -> None:
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            self._fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)
        except (PermissionError, FileNotFoundError):
            self._fd = -1
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self) -> list[str]:
        """Faults, one text each."""
        found = []
        while self._fd >= 0:
            try:
                record = os.read(self._fd, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:  # older records were overwritten: go on with the oldest that is left
                continue
            if FAULT.search(record):
                found.append(record.partition(";")[2].strip())
        return found


@pytest.fixture(autouse=True)
def no_dma_faults() -> Iterator[None]:
    """No test may have the NIC reach for memory that it was not given. For a conftest to import."""
    with FaultLog() as log:
        yield
        assert log.read() == []
