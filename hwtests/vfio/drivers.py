"""Which driver has a PCI function, for the time of a test. Raw sysfs: what is tested here is not used to test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

DEVICES = Path("/sys/bus/pci/devices")


def driver_of(address: str) -> str:
    link = DEVICES / address / "driver"
    return link.resolve().name if link.exists() else ""


@contextlib.contextmanager
def bound_to(address: str, driver: str) -> Iterator[None]:
    """Bound to ``driver`` (``""``: to none) inside the block, and as before after it."""
    before = driver_of(address)
    _bind(address, driver)
    try:
        yield
    finally:
        _bind(address, before)


def _bind(address: str, driver: str) -> None:
    device = DEVICES / address
    if driver_of(address):
        (device / "driver" / "unbind").write_text(address)
    (device / "driver_override").write_text(f"{driver or 'none'}\n")
    if driver:
        Path("/sys/bus/pci/drivers_probe").write_text(address)
        if driver_of(address) != driver:
            raise RuntimeError(f"{driver} did not take {address}")
