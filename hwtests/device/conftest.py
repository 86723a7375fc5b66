"""The NIC under test, opened, and a wire that sends every frame back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from hwtests.device.dma_faults import no_dma_faults  # noqa: F401 # autouse here too
from hwtests.device.echo_peer import EchoPeer, interface_of
from vfiodpa.pci.function import PciFunction
from vfiodpa.vdpa.devices import Access, open_device, open_function
from vfiodpa.vdpa.nic import Nic

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="session")
def device_name(request: pytest.FixtureRequest) -> str:
    name: str = request.config.getoption("--device")
    return name


@pytest.fixture(scope="session")
def access(request: pytest.FixtureRequest) -> Access:
    return Access(iommu=request.config.getoption("--iommu"))


@pytest.fixture
def function(device_name: str, access: Access) -> Iterator[PciFunction]:
    with open_function(device_name, access=access) as opened:
        yield opened


@pytest.fixture
def nic(device_name: str, access: Access) -> Iterator[Nic]:
    with Nic(open_device(device_name, access=access)) as opened:
        yield opened


@pytest.fixture
def echo(request: pytest.FixtureRequest, device_name: str) -> Iterator[None]:
    """Frames that the NIC sends come back to it."""
    peer: str = request.config.getoption("--peer")
    if peer:
        with EchoPeer(interface_of(peer)):
            yield
    elif device_name.startswith("soft") and "port=echo" in device_name:
        yield
    else:
        pytest.skip("nothing sends frames back: name an interface on the wire with --peer")


@pytest.fixture
def eventfd() -> Iterator[Callable[[], int]]:
    fds: list[int] = []

    def make() -> int:
        fds.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)
