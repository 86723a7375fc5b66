"""Linux's virtio-net driver, in a virtual machine, as the guest of our vhost-user server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hwtests.peers.backend import EchoBackend
from hwtests.peers.linux_guest import LinuxGuest
from hwtests.rig.qmp import Qmp

pytestmark = pytest.mark.timeout(400)

# virtio 1.3, §5.1.3 and §6: mergeable buffers, indirect descriptors, event index, VERSION_1
FEATURES = (15, 28, 29, 32)
RING_PACKED = 34
FRAMES = 500
# What begins anew is the same for both layouts, and a boot takes ten seconds.
split_only = pytest.mark.parametrize("packed", [False], ids=["split"], indirect=True)


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def packed(request: pytest.FixtureRequest) -> bool:
    value: bool = request.param
    return value


@pytest.fixture
def boot(server: EchoBackend, boot_files: tuple[Path, Path], packed: bool) -> Callable[[], LinuxGuest]:
    def start() -> LinuxGuest:
        return LinuxGuest(server.socket, server.socket.with_name("qemu.log"), *boot_files, packed=packed)

    return start


def check_link(guest: LinuxGuest, command: str = "up", packed: bool | None = None) -> None:
    link = guest.ask(command)
    if packed is not None:
        assert link["features"][RING_PACKED] == str(int(packed))
    assert link["driver"] == "virtio_net"
    assert link["carrier"] == 1
    assert [bit for bit in FEATURES if link["features"][bit] != "1"] == []


def check_echo(guest: LinuxGuest, frames: int, size: int) -> None:
    result = guest.ask(f"probe {frames} {size}")
    assert result == {"sent": frames, "back": frames, "corrupt": 0, "duplicate": 0, "reordered": 0}


def test_frames_come_back_also_after_a_pause(boot: Callable[[], LinuxGuest], server: EchoBackend, packed: bool) -> None:
    """In a pause QEMU asks where the rings stand, and starts them there: with a wrap counter, if they are packed."""
    with boot() as guest, Qmp.connect(guest.monitor) as qmp:
        check_link(guest, packed=packed)
        check_echo(guest, FRAMES, 64)
        check_echo(guest, FRAMES, 1514)
        ours = server.settled()
        assert (ours.from_guest, ours.to_guest, ours.dropped) == (2 * FRAMES, 2 * FRAMES, 0)
        assert ours.bytes_from_guest == FRAMES * (64 + 1514)
        for frames, size in ((3, 64), (FRAMES, 1514)):  # behind laps of the ring, and a few frames later
            qmp.execute("stop")
            qmp.execute("cont")
            check_echo(guest, frames, size)
        guest.poweroff()


@split_only
def test_the_driver_lets_go_and_takes_again_and_the_guest_reboots(boot: Callable[[], LinuxGuest]) -> None:
    with boot() as guest:
        check_link(guest)
        check_echo(guest, FRAMES, 64)
        check_link(guest, "rebind")
        check_echo(guest, FRAMES, 1514)
        guest.reboot()
        check_link(guest)
        check_echo(guest, FRAMES, 64)
        guest.poweroff()


@split_only
def test_a_killed_machine_makes_room_for_the_next(boot: Callable[[], LinuxGuest]) -> None:
    with boot() as guest:
        check_link(guest)
        guest.kill()
    with boot() as guest:
        check_link(guest)
        check_echo(guest, FRAMES, 64)
        guest.poweroff()
