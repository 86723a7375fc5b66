"""Guests that ring the mapped doorbell page of a NIC behind VFIO: the kernel and the server have no part in it."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwtests.device.echo_peer import EchoPeer, interface_of
from hwtests.vfio.server import Server
from vfiodpa._native import lib
from vfiodpa.errors import ExitCode, Unsupported
from vfiodpa.guest.traffic import Plan, run
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.memory import PAGE_SIZE
from vfiodpa.vdpa.devices import open_nic
from vfiodpa.vdpa.doorbell import why_no_page
from vfiodpa.vdpa.service import HEALTH_CHECK

SECONDS = 60.0
KICKS = 100_000
TX = 1
DEADLINE = 20.0
PATIENCE = 30.0  # of a guest for its server, on a busy machine without KVM

Modes = Callable[[], set[str]]


@pytest.fixture(autouse=True)
def _pages(bdf: str) -> None:
    """Only where each queue's doorbell has a page to itself (QEMU's NIC: page-per-vq=on)."""
    with open_nic(bdf) as nic:
        why = why_no_page(nic.device)
    if why:
        pytest.skip(f"{bdf} has no doorbell page to give away: {why}")


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> str:
    """A kernel interface on the NIC's wire."""
    name: str = request.config.getoption("--peer")
    if not name:
        pytest.skip("nothing is at the other end of the wire: name an interface with --peer")
    return interface_of(name)


@pytest.fixture
def server(bdf: str, directory: Path) -> Iterator[Server]:
    """It must live through the test, and end in good order at SIGTERM."""
    with Server(bdf, "auto", directory / "s") as server:
        server.wait_ready()
        yield server
        server.signal(signal.SIGTERM)
        assert server.status() == ExitCode.DONE


def started(path: Path) -> VhostUserGuest:
    """A guest that has all pages and does not use its eventfds any more."""
    guest = VhostUserGuest(path, notifiers=True, timeout=PATIENCE)
    guest.start()
    assert guest.take_notifiers(DEADLINE)
    return guest


def test_the_pages_are_within_the_device(bdf: str) -> None:
    with open_nic(bdf) as nic:
        pages = [nic.device.doorbell_page(queue) for queue in (0, TX)]
        assert [page.length for page in pages] == [PAGE_SIZE] * 2
        assert pages[TX].offset - pages[0].offset == PAGE_SIZE
        bar = nic.device.doorbell_address(0).bar
        with pytest.raises(Unsupported, match="cannot be mapped"):
            nic.function.doorbell_page(bar, nic.function.bar(bar).length)


def test_frames_flow_by_the_page_alone(server: Server, peer: str) -> None:
    """QEMU's NIC takes frames when its doorbell is rung, and nobody listens to these eventfds' count but the kernel."""
    with EchoPeer(peer), started(server.socket) as guest:
        guest.queues[0].calls(True)
        plan = Plan(sizes=(60, 64, 590, 1514), count=200, window=4, poll_us=0, stall=20.0, drain=20.0)
        verdict = run(guest, plan, seconds=SECONDS)
        assert verdict.clean, str(verdict)
        assert verdict.total.distinct == 200
        assert verdict.total.kicks > 0
        assert [guest.rings_by(queue) for queue in (0, TX)] == ["page", "page"]
        assert guest.doorbell(TX).native.kind == lib.VDP_DOORBELL_MMIO16


def test_kicks_wake_nobody(server: Server) -> None:
    with started(server.socket) as guest:
        time.sleep(0.5)
        bell = guest.doorbell(TX).native
        before, start = server.switches(), time.monotonic()
        for _ in range(KICKS):
            lib.vdp_doorbell_ring(bell)
        after, seconds = server.switches(), time.monotonic() - start
        assert not select.select([guest._wires[TX].kick], [], [], 0)[0]
    assert after.keys() == before.keys()
    own = seconds / HEALTH_CHECK + 2  # it looks at the device now and then; each look is a switch away and one back
    assert sum(after.values()) - sum(before.values()) <= 2 * own, f"{KICKS} kicks in {seconds:.1f} s"


def test_said_and_done_at_each_start(bdf: str, directory: Path, peer: str) -> None:
    with open_nic(bdf) as nic, nic.serve(directory / "s") as service:
        service.start()

        def modes() -> set[str]:
            return {choice.mode.value for choice in service.datapath.doorbells.values()}

        with EchoPeer(peer), VhostUserGuest(directory / "s", notifiers=True, timeout=PATIENCE) as guest:
            for _ in range(2):
                guest.start()
                assert guest.take_notifiers(DEADLINE)
                wait_for(modes, {"notifier"})
                verdict = run(guest, Plan(count=10, window=8, stall=20.0, drain=20.0), seconds=SECONDS)
                assert verdict.clean, str(verdict)
                guest.stop()
                wait_for(modes, set())


def test_a_guest_that_takes_no_page(server: Server, peer: str) -> None:
    with EchoPeer(peer), VhostUserGuest(server.socket, timeout=PATIENCE) as guest:
        guest.start()
        verdict = run(guest, Plan(count=50, window=8, stall=20.0, drain=20.0), seconds=SECONDS)
        assert verdict.clean, str(verdict)
        assert guest.rings_by(TX) == "eventfd"


def test_a_guest_that_vanishes_with_its_pages(server: Server, peer: str) -> None:
    for _ in range(3):
        started(server.socket).vanish()
    with EchoPeer(peer), started(server.socket) as guest:
        verdict = run(guest, Plan(count=20, window=8, stall=20.0, drain=20.0), seconds=SECONDS)
        assert verdict.clean, str(verdict)


def wait_for(modes: Modes, wanted: set[str]) -> None:
    end = time.monotonic() + DEADLINE
    while modes() != wanted:
        assert time.monotonic() < end, f"{modes()}, not {wanted}"
        time.sleep(0.01)
