"""A device that ignores a device reset, and is brought back by a reset of its function: for those that have one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hwtests.device.test_frames import _check
from hwtests.rig.qmp import INSIDE, Qmp, qdev_id
from vfiodpa.drivers.registry import driver_for
from vfiodpa.drivers.transport import find_structures
from vfiodpa.errors import Unsupported
from vfiodpa.pci.function import PciFunction
from vfiodpa.registers import Window
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.virtio_pci import CfgType, CommonCfg, DeviceStatus
from vfiodpa.vdpa.nic import Nic


@dataclass
class Deaf:
    """The BAR with the common configuration, where writing 0 to device_status does nothing while ``deaf``."""

    inner: Window
    status: int  # where it is
    deaf: bool = False

    def __getattr__(self, name: str) -> Any:  # what only a region of VFIO has
        return getattr(self.inner, name)

    @property
    def length(self) -> int:
        return self.inner.length

    def read(self, offset: int, width: int) -> int:
        return self.inner.read(offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        if not (self.deaf and offset == self.status and value == 0):
            self.inner.write(offset, width, value)


@pytest.fixture(scope="session")
def device_name(device_name: str) -> str:
    """In the rig NICs on bus 0 have no function level reset; those behind a root port have."""
    if not device_name.startswith("0000:00:"):
        return device_name
    nics = os.environ.get("VFIODPA_RIG_NICS", "").split(",")
    return next((nic for nic in nics if nic and not nic.startswith("0000:00:")), device_name)


@pytest.fixture
def deaf(function: PciFunction, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Deaf, Nic]]:
    """A NIC that can be told not to hear, until its function is reset."""
    try:
        function.reset()
    except Unsupported as error:
        pytest.skip(f"no ladder to climb: {error} (in the rig: a NIC behind a root port, --nics hotplug)")
    header = ConfigHeader(function.config)
    header.command = header.command | Command.MEMORY
    where = find_structures(function)[CfgType.COMMON]
    window = Deaf(function.bar(where.bar), where.offset + CommonCfg.device_status.offset)
    bar, reset = function.bar, function.reset

    def heal() -> None:
        reset()
        window.deaf = False

    monkeypatch.setattr(function, "bar", lambda index: window if index == where.bar else bar(index))
    monkeypatch.setattr(function, "reset", heal)
    with Nic(driver_for(function)) as nic:
        yield window, nic


@contextlib.contextmanager
def link_down(nic: Nic) -> Iterator[None]:
    """The software NIC does that itself, in the rig QEMU's monitor does."""
    if isinstance(nic.function, SoftFunction):
        nic.function.set_link(False)
        yield
        return
    if "VFIODPA_RIG" not in os.environ or not INSIDE.exists():
        pytest.skip("not inside the rig: there is nobody to take the link down")
    with Qmp.inside() as qmp:
        name = qdev_id(qmp, nic.name)
        qmp.execute("set_link", name=name, up=False)
        try:
            yield
        finally:
            qmp.execute("set_link", name=name, up=True)


def test_it_comes_back(deaf: tuple[Deaf, Nic], caplog: pytest.LogCaptureFixture) -> None:
    window, nic = deaf
    nic.device.negotiate(nic.features.guest)
    nic.device.start()
    window.deaf = True
    nic.device.reset()
    assert not window.deaf
    assert nic.device.status == 0
    assert nic.device.stats()["function_resets"] == 1
    assert "a function reset is tried" in caplog.text
    command = ConfigHeader(nic.function.config).command
    assert command & Command.MEMORY
    assert not command & Command.BUS_MASTER, "DMA only once it is to work"


def test_frames_before_and_after(deaf: tuple[Deaf, Nic], echo: None) -> None:
    """What the function reset takes (Bus Master, vectors, queues) is there again for the next start."""
    window, nic = deaf
    _check(nic)
    nic.device.negotiate(nic.features.guest)
    window.deaf = True
    _check(nic)
    assert not window.deaf
    assert nic.device.stats()["function_resets"] == 1


def test_a_vector_is_armed_again(deaf: tuple[Deaf, Nic]) -> None:
    """The eventfd for configuration changes was attached when the NIC was opened, and nobody attaches it again."""
    window, nic = deaf
    nic.device.negotiate(nic.features.guest)
    window.deaf = True
    nic.device.negotiate(nic.features.guest)
    assert not window.deaf
    nic.device.start()
    assert nic.device.status & DeviceStatus.DRIVER_OK
    with link_down(nic):
        nic.events.config.wait(10)
