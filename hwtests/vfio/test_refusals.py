"""What keeps a function from being opened or mapped: each reason has its own error, which names the way out."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwtests.vfio.child import NOBODY, Child, ask
from hwtests.vfio.drivers import bound_to
from vfiodpa.errors import ExitCode, NoDevice, VfiodpaError
from vfiodpa.memory import Iova, Mapping
from vfiodpa.pci.sysfs import SysfsFunction
from vfiodpa.vdpa.devices import Access, open_function

SIZE = 8 << 20
LIMIT = 1 << 20


def _refusal(device: str, access: Access) -> VfiodpaError:
    with pytest.raises(VfiodpaError) as caught:
        open_function(device, access=access).close()
    return caught.value


def _nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def test_absent(access: Access) -> None:
    error = _refusal("0000:00:1e.7", access)
    assert isinstance(error, NoDevice)
    assert error.exit_code is ExitCode.NO_DEVICE


@pytest.mark.usefixtures("in_rig")
def test_bound_to_no_driver(device_name: str, access: Access) -> None:
    with bound_to(device_name, ""):
        error = _refusal(device_name, access)
    assert "not bound to vfio-pci" in error.what
    assert error.remedy == f"vfiodpa bind {device_name}"


@pytest.mark.usefixtures("in_rig")
def test_bound_to_another_driver(device_name: str, access: Access) -> None:
    with bound_to(device_name, "virtio-pci"):
        error = _refusal(device_name, access)
    assert "virtio-pci" in error.what
    assert error.remedy == f"vfiodpa bind {device_name}"
    assert error.exit_code is ExitCode.NO_DEVICE


@pytest.mark.usefixtures("in_rig")
def test_a_foreign_member_in_its_group(rig_nics: list[str], access: Access) -> None:
    pairs = [(name, m.address) for name in rig_nics for m in SysfsFunction.of(name).members if m.address != name]
    if not pairs:
        pytest.skip("every NIC is alone in its group")
    device, other = pairs[0]
    with bound_to(other, "virtio-pci"):
        error = _refusal(device, access)
        assert "not viable" in error.what
        assert other in error.cause
        assert other in error.remedy
    open_function(device, access=access).close()


def test_no_permission(device_name: str, access: Access) -> None:
    if os.getuid():
        pytest.skip("only root can become somebody without rights")

    def work() -> str:
        _nobody()
        error = _refusal(device_name, access)
        return f"{error.exit_code.name} {error}"

    answer = ask(work)
    assert answer.startswith("NO_PERMISSION")
    assert "EACCES" in answer
    assert "chown" in answer


@contextlib.contextmanager
def _open_to_all() -> Iterator[None]:
    nodes = [path for path in [Path("/dev/iommu"), *Path("/dev/vfio").rglob("*")] if path.is_char_device()]
    modes = {path: path.stat().st_mode for path in nodes}
    for path in nodes:
        path.chmod(0o666)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode & 0o777)


@pytest.mark.usefixtures("in_rig")
def test_too_little_memory_may_be_locked(device_name: str, access: Access) -> None:
    def work() -> str:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (LIMIT, LIMIT))
        _nobody()
        with open_function(device_name, access=access) as function, Mapping.create(SIZE) as memory:
            try:
                function.dma.map(Iova(1 << 30), memory)
            except VfiodpaError as error:
                return f"{error.exit_code.name} {error}"
            return "mapped"

    with _open_to_all():
        answer = ask(work)
    assert answer.startswith("NO_PERMISSION"), answer
    assert f"needs {SIZE >> 10} KiB of locked memory" in answer
    assert "ulimit -l" in answer


def test_in_use_by_another_process(device_name: str, access: Access) -> None:
    kept = []

    def work() -> str:
        kept.append(open_function(device_name, access=access))
        return "open"

    with Child(work) as child:
        assert child.answer == "open"
        error = _refusal(device_name, access)
        assert str(child.pid) in str(error)
        assert error.exit_code is ExitCode.NO_PERMISSION
    open_function(device_name, access=access).close()


def test_the_window_of_interrupt_messages_cannot_be_mapped(device_name: str, access: Access) -> None:
    with open_function(device_name, access=access) as function, Mapping.create(SIZE) as memory:
        if any(r.holds(0xFEE0_0000, 4096) for r in function.dma.iova_ranges):
            pytest.skip("this IOMMU has its message window elsewhere")
        with pytest.raises(VfiodpaError, match="0xfee"):
            function.dma.map(Iova(0xFED0_0000), memory)
