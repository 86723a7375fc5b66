"""What only a function behind VFIO has; the tests for any device are in hwtests/device."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwtests.device.dma_faults import no_dma_faults  # noqa: F401 # autouse here too
from hwtests.vfio.binding import driver_of
from vfiodpa.pci.address import is_address
from vfiodpa.vfio.choice import iommufd_obstacle
from vfiodpa.vfio.nodes import read_function

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="session")
def bdf(request: pytest.FixtureRequest) -> str:
    """The NIC under test, bound to vfio-pci."""
    name: str = request.config.getoption("--device")
    if not is_address(name):
        pytest.skip("needs a NIC bound to vfio-pci: --device BDF")
    if driver_of(name) != "vfio-pci":
        pytest.skip(f"{name} is not bound to vfio-pci: vfiodpa bind {name}")
    return name


@pytest.fixture(params=["iommufd", "type1"])
def iommu(request: pytest.FixtureRequest, bdf: str) -> str:
    """Both ways to the IOMMU, where the kernel has them."""
    kind: str = request.param
    obstacle = iommufd_obstacle(read_function(bdf)) if kind == "iommufd" else None
    if obstacle:
        pytest.skip(f"no iommufd here: {obstacle.what}")
    return kind


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path, for a socket."""
    path = Path(tempfile.mkdtemp(prefix="vfiodpa-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
