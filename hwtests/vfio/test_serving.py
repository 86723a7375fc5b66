"""A NIC served through a vhost-user socket, its server in a process of its own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwtests.device.test_life import footprint
from hwtests.vfio.child import Child
from vfiodpa.guest.traffic import Mode, Plan, run
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.vdpa.devices import Access, open_nic

KICKS = 100_000
TX = 1
CYCLES = 100
FRAMES = 50


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "nic.sock"


@pytest.fixture
def server(device_name: str, access: Access, socket: Path) -> Iterator[Child]:
    """Serves until it is killed."""
    kept = []

    def work() -> str:
        nic = open_nic(device_name, access=access)
        service = nic.serve(socket)
        service.start()
        kept.append((nic, service))
        return "serving"

    with Child(work) as child:
        assert child.answer == "serving"
        yield child


def _send(guest: VhostUserGuest) -> None:
    guest.start()
    verdict = run(guest, Plan(mode=Mode.TRANSMIT, count=FRAMES, window=16, drain=5.0), seconds=30.0)
    assert verdict.total.transmitted == FRAMES, str(verdict)


def _switches(pid: int) -> int:
    """Context switches of all threads of a process, wanted or not."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(count) for text in texts for count in re.findall(r"ctxt_switches:\s+(\d+)", text))


def test_the_kernel_rings_a_hundred_thousand_times_alone(server: Child, socket: Path) -> None:
    with VhostUserGuest(socket) as guest:
        _send(guest)
        kick = guest.doorbell(TX).native.fd
        time.sleep(0.5)  # the server has nothing left to do
        before = _switches(server.pid)
        for _ in range(KICKS):
            os.eventfd_write(kick, 1)
        assert _switches(server.pid) == before


def test_a_killed_server_leaves_a_clean_device(device_name: str, access: Access, server: Child, socket: Path) -> None:
    with VhostUserGuest(socket) as guest:
        _send(guest)
        server.kill()
    socket.unlink(missing_ok=True)
    with open_nic(device_name, access=access) as nic:
        assert nic.device.negotiated == 0
        with nic.serve(socket) as service:
            service.start()
            with VhostUserGuest(socket) as guest:
                _send(guest)


def test_two_servers_on_one_device(device_name: str, access: Access, server: Child) -> None:
    with pytest.raises(Exception, match=f"in use by process {server.pid}"):
        open_nic(device_name, access=access)


@pytest.mark.timeout(400)
def test_a_hundred_cycles_leave_nothing_behind(device_name: str, access: Access, socket: Path) -> None:
    def cycle() -> None:
        with open_nic(device_name, access=access) as nic, nic.serve(socket) as service:
            service.start()
            with VhostUserGuest(socket) as guest:
                guest.start()

    cycle()
    before = footprint()
    for _ in range(CYCLES):
        cycle()
    assert footprint() == before
