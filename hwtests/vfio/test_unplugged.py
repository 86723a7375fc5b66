"""A NIC unplugged while it is open or served, by QEMU's monitor. Each test uses up one NIC behind a root port."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwtests.rig.qmp import INSIDE, Qmp, qdev_id
from hwtests.vfio.binding import PCI, driver_of
from hwtests.vfio.server import Server
from vfiodpa.errors import ExitCode, NoDevice, VfiodpaError
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.spec.pci import ConfigHeader
from vfiodpa.vfio.function import VfioFunction

UNPLUG_S = 30.0  # the hot-plug controller waits for five seconds in case the button was pressed by mistake


@pytest.fixture
def qmp() -> Iterator[Qmp]:
    if "VFIODPA_RIG" not in os.environ or not INSIDE.exists():
        pytest.skip("not inside the rig: there is nobody to unplug a NIC")
    with Qmp.inside() as qmp:
        yield qmp


@pytest.fixture
def plugged() -> str:
    """A NIC that can be unplugged: its address."""
    nics = os.environ.get("VFIODPA_RIG_NICS", "").split(",")
    for address in nics:
        if address and not address.startswith("0000:00:") and driver_of(address) == "vfio-pci":
            return address
    pytest.skip("no NIC behind a root port is left (in the rig: --nics …,hotplug)")


def is_there(address: str) -> bool:
    return (PCI / "devices" / address).exists()


def unplug(qmp: Qmp, address: str) -> str:
    """Ask for it; returns the NIC's name in QEMU."""
    name = qdev_id(qmp, address)
    qmp.execute("device_del", id=name)
    return name


def test_it_is_asked_for_and_goes_when_it_is_closed(qmp: Qmp, plugged: str) -> None:
    with VfioFunction(plugged) as function:
        name = unplug(qmp, plugged)
        assert select.select([function.release_event], [], [], UNPLUG_S)[0], "nobody asked for it"
        assert ConfigHeader(function.config).vendor_id == 0x1AF4, "it waits for us"
        time.sleep(0.5)
        assert is_there(plugged)
    qmp.wait_event("DEVICE_DELETED", UNPLUG_S, device=name)
    with pytest.raises(NoDevice, match="no such PCI function"):
        VfioFunction(plugged)


def test_the_server_gives_it_back(qmp: Qmp, plugged: str, directory: Path) -> None:
    with Server(plugged, "auto", directory / "s") as server:
        server.wait_ready()
        with VhostUserGuest(server.socket, timeout=5.0) as guest:
            guest.start()
            name = unplug(qmp, plugged)
            assert server.status() == ExitCode.DEVICE
            with pytest.raises((VfiodpaError, OSError)):
                guest.stop()
        qmp.wait_event("DEVICE_DELETED", UNPLUG_S, device=name)
    assert not is_there(plugged)
