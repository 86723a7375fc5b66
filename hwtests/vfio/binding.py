"""Drivers of PCI functions, changed for a test and put back. The product's own way is ``vfiodpa bind``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

PCI = Path("/sys/bus/pci")
SETTLE_S = 5.0


def driver_of(address: str) -> str:
    """The driver that has it; empty: none."""
    link = PCI / "devices" / address / "driver"
    return link.resolve().name if link.exists() else ""


def bind(address: str, driver: str) -> None:
    """Give it to a driver, or to none. Returns when its device node is there."""
    path = PCI / "devices" / address
    if driver_of(address):
        (path / "driver/unbind").write_text(address)
    (path / "driver_override").write_text(f"{driver}\n")
    if driver:
        (PCI / "drivers_probe").write_text(address)
        if driver_of(address) != driver:
            raise OSError(f"{driver} does not take {address}")
    if driver == "vfio-pci":
        _wait_for_node(path)


def _wait_for_node(path: Path) -> None:
    group = (path / "iommu_group").resolve().name
    end = time.monotonic() + SETTLE_S
    while not any(Path("/dev/vfio", prefix + group).exists() for prefix in ("", "noiommu-")):
        if time.monotonic() > end:
            raise OSError(f"/dev/vfio/{group} does not come")
        time.sleep(0.01)


@contextlib.contextmanager
def bound(address: str, driver: str) -> Iterator[None]:
    """In the block the driver (or none) has it, afterwards the one from before."""
    before = driver_of(address)
    bind(address, driver)
    try:
        yield
    finally:
        bind(address, before)
