"""Everything here wants a PCI address as ``--device``; some of it may be done to a NIC in the rig only."""

from __future__ import annotations

import os

import pytest

from hwtests.device.conftest import access, device_name, eventfd, function, nic, no_dma_faults

__all__ = ["access", "device_name", "eventfd", "function", "nic", "no_dma_faults"]


@pytest.fixture(autouse=True)
def _needs_vfio(device_name: str) -> None:
    if device_name.startswith("soft"):
        pytest.skip("--device names no PCI function")


@pytest.fixture
def in_rig() -> None:
    """For tests that take the NIC from its driver or change /dev: nobody else may be using either."""
    if "VFIODPA_RIG" not in os.environ:
        pytest.skip("done in the rig only: it rebinds devices")


@pytest.fixture
def rig_nics() -> list[str]:
    """PCI addresses of all NICs that the rig bound to vfio-pci."""
    return [name for name in os.environ.get("VFIODPA_RIG_NICS", "").split(",") if name]
