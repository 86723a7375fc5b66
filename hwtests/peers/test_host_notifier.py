"""Linux in QEMU rings the software NIC's doorbell pages itself: QEMU as a front end that nobody here wrote."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwtests.peers.backend import VfiodpaServer
from hwtests.peers.linux_guest import LinuxGuest
from hwtests.peers.testpmd import two_cpus

pytestmark = pytest.mark.timeout(400)

FRAMES = 300
TX = 1
# poll=0: the NIC sleeps after each frame, so that nothing moves without a kick.
DEVICE = "soft:port=echo,poll=0"


Serve = Callable[[str], VfiodpaServer]


@pytest.fixture
def serve(directory: Path) -> Iterator[Serve]:
    """``serve("notifier=on")``; it must end in good order."""
    started: list[VfiodpaServer] = []

    def start(options: str) -> VfiodpaServer:
        device, log = f"{DEVICE},{options}", directory / "serve.log"
        started.append(VfiodpaServer(directory / "vhost.sock", log, cpu=two_cpus()[0], device=device, words=["-v"]))
        return started[-1]

    try:
        yield start
        for server in started:
            server.stop()
    finally:
        for server in started:
            if server.program.running:
                server.program.kill()


def kicks(server: VfiodpaServer) -> tuple[int, int]:
    """Of the transmit queue: wake-ups by the kick eventfd, and by the page."""
    queue = server.report()["queues"][TX]
    return queue["kicks"], queue["page_kicks"]


def woken(server: VfiodpaServer) -> tuple[int, int]:
    """How often the NIC was woken, and its pages rung."""
    report = server.report()
    return report["workers"][0]["wakes"], sum(queue["page_kicks"] for queue in report["queues"])


def check_echo(guest: LinuxGuest, size: int) -> None:
    result = guest.ask(f"probe {FRAMES} {size}")
    assert result == {"sent": FRAMES, "back": FRAMES, "corrupt": 0, "duplicate": 0, "reordered": 0}


def test_qemu_takes_the_pages(serve: Serve, boot_files: tuple[Path, Path], directory: Path) -> None:
    """Each start of the driver anew, and no kick comes by the eventfd once the guest has the page."""
    server = serve("notifier=on")
    with LinuxGuest(server.socket, directory / "qemu.log", *boot_files, page_per_vq=True) as guest:
        for command, mark in (("up", 0), ("rebind", server.program.printed())):
            guest.ask(command)
            server.program.wait_for(r"queue 1: doorbell by notifier", 10, mark)
            time.sleep(0.5)  # the server kicks each queue once more after that
            (by_fd, by_page), before = kicks(server), woken(server)
            for size in (64, 1514):
                check_echo(guest, size)
            (after_fd, after_page), after = kicks(server), woken(server)
            assert after_fd == by_fd, "the kick eventfd is silent"
            assert after_page > by_page
            wakes, rung = (now - then for now, then in zip(after, before, strict=True))
            assert 0 < wakes <= rung, "what wakes the NIC are stores to the pages"
        guest.poweroff()


def test_without_page_per_vq_qemu_refuses(serve: Serve, boot_files: tuple[Path, Path], directory: Path) -> None:
    """The eventfd carries the kicks."""
    server = serve("notifier=on")
    with LinuxGuest(server.socket, directory / "qemu.log", *boot_files) as guest:
        guest.ask("up")
        why = "the front end refused the page"
        server.program.wait_for(f"queue 1: doorbell by ioeventfd .*no host notifier: {why}", 10)
        by_fd, _ = kicks(server)
        check_echo(guest, 64)
        after_fd, by_page = kicks(server)
        assert (after_fd > by_fd, by_page) == (True, 0)
        guest.poweroff()
