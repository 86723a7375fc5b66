"""A machine without an IOMMU: only when asked for, never for guests, and nothing can be mapped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hwtests.vfio.binding import bound
from vfiodpa.cli.main import main
from vfiodpa.errors import ExitCode, Unsupported
from vfiodpa.memory import Iova, Mapping
from vfiodpa.pci.address import is_address, normalise
from vfiodpa.spec.pci import ConfigHeader
from vfiodpa.vdpa.devices import Access, open_nic
from vfiodpa.vfio.function import VfioFunction
from vfiodpa.vfio.nodes import read_function

SWITCH = Path("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode")


@pytest.fixture
def unprotected(request: pytest.FixtureRequest) -> str:
    """The NIC, on a machine where no IOMMU has it."""
    name: str = request.config.getoption("--device")
    if not is_address(name):
        pytest.skip("needs a PCI NIC: --device BDF")
    function = read_function(normalise(name))
    if function.has_iommu:
        pytest.skip("this machine has an IOMMU")
    return function.address


@pytest.fixture
def bound_unsafely(unprotected: str) -> Iterator[str]:
    if not SWITCH.exists():
        pytest.skip("this kernel has no no-IOMMU mode")
    SWITCH.write_text("Y")
    with bound(unprotected, "vfio-pci"):
        yield unprotected
    SWITCH.write_text("N")


def test_it_says_that_there_is_no_iommu(unprotected: str) -> None:
    with pytest.raises(Unsupported, match="in no IOMMU group") as info:
        VfioFunction(unprotected, unsafe_noiommu=True)
    assert "intel_iommu=on" in info.value.remedy


def test_not_unless_asked_for(bound_unsafely: str) -> None:
    with pytest.raises(Unsupported, match="in no IOMMU group"):
        VfioFunction(bound_unsafely)


def test_registers_and_interrupts_but_no_memory(bound_unsafely: str) -> None:
    with VfioFunction(bound_unsafely, unsafe_noiommu=True) as function, Mapping.create(0x1000) as memory:
        assert (function.dma.kind, function.dma.isolates) == ("noiommu", False)
        assert ConfigHeader(function.config).vendor_id == 0x1AF4
        assert function.vectors
        with pytest.raises(Unsupported, match="there is no IOMMU"):
            function.dma.map(Iova(0), memory)


def test_never_for_guests(bound_unsafely: str, directory: Path) -> None:
    access = Access(unsafe_noiommu=True)
    with open_nic(bound_unsafely, access=access) as nic, pytest.raises(Unsupported, match="no guest is served"):
        nic.serve(directory / "s")
    assert main(["serve", bound_unsafely, "--socket", str(directory / "s")]) == ExitCode.UNSUPPORTED


def test_shown_when_asked_for(bound_unsafely: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", bound_unsafely, "--unsafe-noiommu"]) == ExitCode.DONE
    assert "noiommu (there is no IOMMU" in capsys.readouterr().out


def test_registers_are_dumped_when_asked_for(bound_unsafely: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["regs", "dump", bound_unsafely, "--unsafe-noiommu"]) == ExitCode.DONE
    assert "device_status" in capsys.readouterr().out
