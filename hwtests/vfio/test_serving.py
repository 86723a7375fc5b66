"""``vfiodpa serve BDF``: guests come, go and get killed, servers too, and the device works for the next."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwtests.device.echo_peer import OUTGOING, EchoPeer, interface_of
from hwtests.device.udp_flow import Pair, frame, wait_for
from hwtests.footprint import footprint, settled
from hwtests.peers import hugepages
from hwtests.peers.testpmd import MEMORY_MB, Memory, Testpmd, two_cpus, virtio_user
from hwtests.vfio.child import Child
from hwtests.vfio.server import Server
from vfiodpa._native import lib
from vfiodpa.errors import ExitCode, VfiodpaError
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.traffic import Plan, run
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.memory import Gpa
from vfiodpa.spec.features import Feature
from vfiodpa.vdpa.devices import Access, open_nic
from vfiodpa.vdpa.service import HEALTH_CHECK
from vfiodpa.vfio.function import VfioFunction

SECONDS = 60.0
PATIENCE = 30.0  # for an answer: the machine is emulated, and may share its processors
KICKS = 100_000
RESTARTS = 10
CYCLES = 100
ETHERTYPE = 0x88B5
ETH_P_IP = 0x0800
BROADCAST = b"\xff" * 6
FLOWS = 16
RING = 256
SIZE = 4 << 20
MSI = 0xFEE0_0000  # the window of x86


@pytest.fixture
def socket_path(directory: Path) -> Path:
    return directory / "s"


@pytest.fixture
def width(bdf: str) -> int:
    """Bits of an I/O address."""
    with VfioFunction(bdf) as function:
        return (function.dma.iova_ranges[-1].last + 1).bit_length() - 1


@pytest.fixture
def server(bdf: str, iommu: str, socket_path: Path) -> Iterator[Server]:
    """It must live through the test, and end in good order at SIGTERM."""
    with Server(bdf, iommu, socket_path) as server:
        server.wait_ready()
        yield server
        server.signal(signal.SIGTERM)
        assert server.status() == ExitCode.DONE


@pytest.fixture(scope="session")
def peer(request: pytest.FixtureRequest) -> str:
    """A kernel interface on the NIC's wire."""
    name: str = request.config.getoption("--peer")
    if not name:
        pytest.skip("nothing is at the other end of the wire: name an interface with --peer")
    return interface_of(name)


def check_frames(path: Path, peer: str, count: int = 200) -> None:
    """A guest of ours sends; each frame comes back, once and unchanged."""
    with EchoPeer(peer), VhostUserGuest(path, timeout=PATIENCE) as guest:
        guest.start()
        plan = Plan(sizes=(60, 64, 590, 1514), count=count, window=16, stall=5.0, drain=5.0)
        verdict = run(guest, plan, seconds=SECONDS)
        assert verdict.clean, str(verdict)
        assert verdict.total.distinct == count


def test_verified_frames_both_ways(server: Server, peer: str) -> None:
    check_frames(server.socket, peer)


def test_the_kernel_rings_the_doorbell(bdf: str, iommu: str, socket_path: Path) -> None:
    with open_nic(bdf, access=Access(iommu)) as nic, nic.serve(socket_path) as service:
        service.start()
        with VhostUserGuest(socket_path, timeout=PATIENCE) as guest:
            guest.start()
            guest.requests(0.1)
            choices = service.datapath.doorbells
            assert {queue: choice.mode for queue, choice in choices.items()} == {0: "ioeventfd", 1: "ioeventfd"}


def test_kicks_do_not_wake_the_server(server: Server) -> None:
    with VhostUserGuest(server.socket, timeout=PATIENCE) as guest:
        guest.start()
        guest.stop_queue(0)
        guest.start_queue(0)
        time.sleep(0.5)
        bell = guest.doorbell(1).native
        before, start = server.switches(), time.monotonic()
        for _ in range(KICKS):
            lib.vdp_doorbell_ring(bell)
        after, seconds = server.switches(), time.monotonic() - start
    own = seconds / HEALTH_CHECK + 2  # it looks at the device now and then; each look is a switch away and one back
    assert after.keys() == before.keys()
    assert sum(after.values()) - sum(before.values()) <= 2 * own, f"{KICKS} kicks in {seconds:.1f} s"


def test_guest_after_guest(server: Server, peer: str) -> None:
    for _ in range(RESTARTS):
        check_frames(server.socket, peer, count=20)


def test_a_guest_that_starts_and_stops(server: Server, peer: str) -> None:
    with EchoPeer(peer), VhostUserGuest(server.socket, timeout=PATIENCE) as guest:
        for _ in range(RESTARTS):
            guest.start()
            verdict = run(guest, Plan(count=10, window=8, stall=5.0, drain=5.0), seconds=SECONDS)
            assert verdict.clean, str(verdict)
            guest.stop()


def test_a_killed_server_leaves_a_usable_device(bdf: str, iommu: str, socket_path: Path, peer: str) -> None:
    with Server(bdf, iommu, socket_path) as victim:
        victim.wait_ready()
        with VhostUserGuest(socket_path, timeout=2.0) as guest:
            guest.start()
            for _ in range(8):  # the device owns buffers when it happens
                guest.queues[0].send(writable=[(guest.memory.alloc(2048), 2048)])
            victim.kill()
    with Server(bdf, iommu, socket_path) as server:
        server.wait_ready()
        check_frames(socket_path, peer)
        server.signal(signal.SIGTERM)
        assert server.status() == ExitCode.DONE


def test_a_killed_guest_is_forgotten(server: Server, peer: str) -> None:
    """The device had buffers in its memory: it is stopped and unmapped, and the next guest is served."""

    def run_and_hang(tell: Callable[[object], None]) -> None:
        guest = VhostUserGuest(server.socket)
        guest.start()
        for _ in range(8):
            guest.queues[0].send(writable=[(guest.memory.alloc(2048), 2048)])
        tell("started")
        signal.pause()

    with Child(run_and_hang) as victim:
        assert victim.next() == "started"
        victim.kill()
    check_frames(server.socket, peer)


@pytest.mark.timeout(400)
def test_a_hundred_times_opened_served_and_closed(bdf: str, socket_path: Path) -> None:
    """By the better way to the IOMMU; the cycles of test_kernel.py take both."""

    def cycle() -> None:
        with open_nic(bdf) as nic, nic.serve(socket_path) as service:
            service.start()
            with VhostUserGuest(socket_path, memory=GuestMemory(SIZE), timeout=PATIENCE) as guest:
                guest.start()

    cycle()  # what is made once per process is made now
    before = footprint()
    for _ in range(CYCLES):
        cycle()
    assert settled(before) == before


def test_two_servers_on_one_device(server: Server, bdf: str, iommu: str, directory: Path) -> None:
    with Server(bdf, iommu, directory / "second") as second:
        assert second.status() == ExitCode.NO_PERMISSION
    with VhostUserGuest(server.socket, timeout=PATIENCE) as guest:
        guest.start()


@pytest.mark.parametrize("place", ["width", "msi"])
def test_guest_memory_that_the_iommu_cannot_take(width: int, server: Server, place: str, peer: str) -> None:
    """The guest is refused; the server goes on and takes the next."""
    base = (MSI if place == "msi" else 1 << width) - SIZE // 2
    memory = GuestMemory(SIZE, base=Gpa(base))  # the guest owns it
    with VhostUserGuest(server.socket, memory=memory, timeout=5.0) as guest, pytest.raises((VfiodpaError, OSError)):
        guest.start()
    check_frames(server.socket, peer, count=20)


# DPDK's virtio-user, unmodified


@pytest.fixture
def huge() -> Iterator[Memory]:
    with hugepages.reserved(MEMORY_MB + 16) as why_not:
        if why_not:
            pytest.skip(why_not)
        yield Memory.HUGE_PAGES


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def packed(request: pytest.FixtureRequest, bdf: str, iommu: str) -> bool:
    """Asked before the server has the NIC."""
    wanted: bool = request.param
    with open_nic(bdf, access=Access(iommu)) as nic:
        if wanted and "ring_packed" not in nic.features:
            pytest.skip("the NIC has no packed rings")
    return wanted


def test_virtio_user(packed: bool, server: Server, peer: str, huge: Memory, directory: Path) -> None:
    """Frames of the kernel's come back from testpmd as they went; so they do from the one after a killed one."""
    with guest_of_dpdk(server, directory / "killed.log", huge, packed=packed) as victim:
        check_echo(peer, 20)
        victim.kill()
    with guest_of_dpdk(server, directory / "testpmd.log", huge, packed=packed) as guest:
        check_echo(peer, 200)
        guest.stop()
        guest.quit()


# Several pairs, switched by the NIC's own control queue


@pytest.fixture
def two_pairs(bdf: str, iommu: str) -> None:
    """Asked before the server has the NIC."""
    with open_nic(bdf, access=Access(iommu)) as nic:
        if nic.device.queue_pairs < 2:
            pytest.skip("the NIC has one queue pair")


def test_each_pair_carries_its_flows(two_pairs: None, server: Server, peer: str) -> None:
    with EchoPeer(peer), VhostUserGuest(server.socket) as guest:
        guest.start(Feature.VERSION_1 | Feature.NET_MRG_RXBUF | Feature.NET_MQ, pairs=2)
        pairs = [Pair(guest, 0), Pair(guest, 1)]
        for number in range(40):
            pair = pairs[number % 2]
            sent = frame(number % FLOWS, number)
            pair.send(sent)
            assert wait_for(pairs, sent) == pair.pair


def test_virtio_user_with_two_pairs(two_pairs: None, server: Server, peer: str, huge: Memory, directory: Path) -> None:
    """Flows of the kernel's are spread over both pairs; every frame comes back as it went."""
    log = directory / "testpmd.log"
    with virtio_user(server.socket, log, cpu=two_cpus()[1], mergeable=True, memory=huge, ring=RING, pairs=2) as guest:
        guest.start()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP)) as wire:
            wire.bind((peer, ETH_P_IP))
            wire.settimeout(10)
            for number in range(200):
                sent = BROADCAST + frame(number % FLOWS, number)[6:]  # the peer takes nobody else's addresses
                wire.send(sent)
                while receive(wire) != sent:
                    pass
        seen = guest.received_by_queue()
        assert set(seen) == {0, 1}, "both pairs were used"
        assert sum(seen.values()) >= 200
        guest.stop()
        guest.quit()


def guest_of_dpdk(server: Server, log: Path, memory: Memory, *, packed: bool) -> Testpmd:
    """testpmd that forwards already."""
    cpu = two_cpus()[1]
    guest = virtio_user(server.socket, log, cpu=cpu, mergeable=True, packed=packed, memory=memory, ring=RING)
    guest.start()
    return guest


def check_echo(peer: str, count: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as wire:
        wire.bind((peer, ETHERTYPE))
        wire.settimeout(10)
        for number in range(count):
            frame = bytes.fromhex("ffffffffffff525400000099") + ETHERTYPE.to_bytes(2, "big")
            frame += number.to_bytes(4, "big") + os.urandom(60 + number)
            wire.send(frame)
            assert receive(wire) == frame


def receive(wire: socket.socket) -> bytes:
    while True:
        frame, sender = wire.recvfrom(2048)
        if sender[2] != OUTGOING:
            return frame
