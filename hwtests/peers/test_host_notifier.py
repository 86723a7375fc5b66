"""Linux in QEMU rings the software NIC's doorbell pages itself: QEMU as a front end that nobody here wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwtests import debian_kernel
from hwtests.peers.backend import VfiodpaServer
from hwtests.peers.linux_guest import LinuxGuest, initramfs
from hwtests.peers.testpmd import two_cpus

pytestmark = pytest.mark.timeout(400)

FRAMES = 300
TX = 1
# poll=0: the NIC sleeps after each frame, so that nothing moves without a kick.
DEVICE = "soft:port=echo,poll=0"


@pytest.fixture(autouse=True)
def _programs(need_program: Callable[[str, str], None]) -> None:
    need_program("qemu-system-x86_64", "qemu-system-x86")
    need_program("busybox", "busybox-static")
    need_program("cpio", "cpio")


@pytest.fixture(scope="module")
def boot_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    kernel_directory = debian_kernel.fetch()
    return kernel_directory, initramfs(kernel_directory, tmp_path_factory.mktemp("guest") / "initramfs.cpio")


Serve = Callable[..., VfiodpaServer]


@pytest.fixture
def serve(directory: Path) -> Iterator[Serve]:
    """``serve("notifier=on", ...)``; it must end in good order."""
    started: list[VfiodpaServer] = []

    def start(options: str, *words: str) -> VfiodpaServer:
        device, log = f"{DEVICE},{options}", directory / "serve.log"
        started.append(
            VfiodpaServer(directory / "vhost.sock", log, cpu=two_cpus()[0], device=device, words=["-v", *words])
        )
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
            by_fd, by_page = kicks(server)
            for size in (64, 1514):
                check_echo(guest, size)
            after_fd, after_page = kicks(server)
            assert after_fd == by_fd, "the kick eventfd is silent"
            assert after_page - by_page > FRAMES // 2, "what wakes the NIC are stores to the page"
        guest.poweroff()


@pytest.mark.parametrize(
    ("options", "words", "page_per_vq", "why"),
    [
        ("notifier=on", (), False, "the front end refused the page"),
        ("notifier=on", ("--doorbell", "ioeventfd"), True, "it is not wanted"),
        ("notifier=off", (), True, "queues share a doorbell page"),
    ],
    ids=["qemu refuses", "not wanted", "no pages"],
)
def test_without_a_page_the_eventfd_carries_the_kicks(
    serve: Serve,
    boot_files: tuple[Path, Path],
    directory: Path,
    options: str,
    words: tuple[str, ...],
    page_per_vq: bool,
    why: str,
) -> None:
    server = serve(options, *words)
    with LinuxGuest(server.socket, directory / "qemu.log", *boot_files, page_per_vq=page_per_vq) as guest:
        guest.ask("up")
        server.program.wait_for(f"queue 1: doorbell by ioeventfd .*no host notifier: {why}", 10)
        by_fd, _ = kicks(server)
        check_echo(guest, 64)
        after_fd, by_page = kicks(server)
        assert (after_fd > by_fd, by_page) == (True, 0)
        guest.poweroff()
