"""The memory table: what is accepted, what is refused, and who holds what afterwards."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.frontends.fakes import GUEST_BASE, MEMORY, USER_BASE, FakeBackend, Peer, open_fds, region, ring_at, table
from vfiodpa.errors import IommuError
from vfiodpa.frontends.frontend import Region
from vfiodpa.spec.vhost_user import U64, Request, SingleRegion, VringState

R = Request
TOP = (1 << 64) - 0x1000
Warnings = Callable[[], list[str]]


def layout(backend: FakeBackend) -> list[tuple[int, int]]:
    return sorted((one.gpa, one.length) for one in backend.regions)


def second(size: int = MEMORY) -> SingleRegion:
    return region(GUEST_BASE + MEMORY, USER_BASE + MEMORY, size)


BAD_REGIONS = {
    "zero-size": (region(size=0), "it is empty"),
    "gpa-overflows": (region(gpa=TOP), "guest address 0xfffffffffffff000 plus its length overflows"),
    "uaddr-overflows": (region(uaddr=TOP), "user address 0xfffffffffffff000 plus its length overflows"),
    "offset-overflows": (region(offset=TOP), "offset 0xfffffffffffff000 plus its length overflows"),
    "size-overflows": (region(size=TOP), "plus its length overflows"),
    "gpa-unaligned": (region(gpa=GUEST_BASE + 0x800), "guest address 0x100000800 is not page aligned"),
    "uaddr-unaligned": (region(uaddr=USER_BASE + 1), "is not page aligned"),
    "offset-unaligned": (region(offset=0x10, size=0x1000), "offset 0x10 is not page aligned"),
    "size-unaligned": (region(size=MEMORY - 1), "not a multiple of the page size"),
    "file-too-short": (region(size=MEMORY + 0x1000), "its file has 0x400000 bytes, the region ends at 0x401000"),
    "offset-past-the-end": (region(offset=0x1000), "the region ends at 0x401000"),
}


@pytest.mark.parametrize("how", ["ADD_MEM_REG", "SET_MEM_TABLE"])
@pytest.mark.parametrize("bad", BAD_REGIONS)
def test_bad_region_is_refused(peer: Peer, backend: FakeBackend, warnings: Warnings, bad: str, how: str) -> None:
    peer.negotiate()
    wrong, why = BAD_REGIONS[bad]
    body = wrong if how == "ADD_MEM_REG" else table(wrong)
    fd = peer.memfd()
    before = open_fds()
    assert not peer.acked(Request[how], body, [fd])
    assert open_fds() == before
    assert why in warnings()[0]
    assert not backend.regions
    assert peer.alive


OVERLAPS = {
    "same-gpa": region(uaddr=USER_BASE + MEMORY),
    "last-page-of-gpa": region(gpa=GUEST_BASE + MEMORY - 0x1000, uaddr=USER_BASE + MEMORY),
    "around-in-gpa": region(gpa=GUEST_BASE - 0x1000, uaddr=USER_BASE + 2 * MEMORY, size=MEMORY + 0x2000),
    "same-uaddr": region(gpa=GUEST_BASE + MEMORY),
    "last-page-of-uaddr": region(gpa=GUEST_BASE + MEMORY, uaddr=USER_BASE + MEMORY - 0x1000),
    "all-the-same-with-other-memory": region(),
}


@pytest.mark.parametrize("how", ["ADD_MEM_REG", "SET_MEM_TABLE"])
@pytest.mark.parametrize("case", OVERLAPS)
def test_overlap_is_refused_and_changes_nothing(
    guest: Peer, backend: FakeBackend, warnings: Warnings, case: str, how: str
) -> None:
    wrong = OVERLAPS[case]
    fds = [guest.memfd(2 * MEMORY), guest.memfd(2 * MEMORY)]
    before = open_fds()
    if how == "ADD_MEM_REG":
        assert not guest.acked(R.ADD_MEM_REG, wrong, fds[:1])
    else:
        assert not guest.acked(R.SET_MEM_TABLE, table(region(), wrong), fds)
    assert open_fds() == before
    assert layout(backend) == [(GUEST_BASE, MEMORY)]
    assert "overlap" in warnings()[0]


def odd_fds(peer: Peer, tmp_path: Path) -> dict[str, int]:
    read, write = os.pipe()
    ours, theirs = socket.socketpair()
    fds = {
        "a pipe": read,
        "a socket": ours.detach(),
        "an eventfd": peer.eventfd(),
        "a directory": os.open(tmp_path, os.O_RDONLY),
        "a character device": os.open("/dev/zero", os.O_RDWR),
    }
    peer.fds += [write, theirs.detach(), *(fd for what, fd in fds.items() if what != "an eventfd")]
    return fds


@pytest.mark.parametrize("what", ["a pipe", "a socket", "an eventfd", "a directory", "a character device"])
def test_fd_that_is_no_memory(guest: Peer, tmp_path: Path, warnings: Warnings, what: str) -> None:
    fds = odd_fds(guest, tmp_path)
    assert not guest.acked(R.ADD_MEM_REG, second(), [fds[what]])
    assert f"must be a file or memfd, got {what}" in warnings()[0]


def test_read_only_file_is_refused(guest: Peer, tmp_path: Path, backend: FakeBackend) -> None:
    (tmp_path / "ram").write_bytes(b"\0" * MEMORY)
    fd = os.open(tmp_path / "ram", os.O_RDONLY)
    guest.fds.append(fd)
    before = open_fds()
    assert not guest.acked(R.ADD_MEM_REG, second(), [fd])
    assert open_fds() == before
    assert layout(backend) == [(GUEST_BASE, MEMORY)]


def test_file_on_disk_is_memory_too(guest: Peer, tmp_path: Path) -> None:
    (tmp_path / "ram").write_bytes(b"\0" * MEMORY)
    fd = os.open(tmp_path / "ram", os.O_RDWR)
    guest.fds.append(fd)
    assert guest.acked(R.ADD_MEM_REG, second(), [fd])


@pytest.mark.parametrize("count", [0, 1, 8])
def test_table_of_regions(peer: Peer, backend: FakeBackend, count: int) -> None:
    peer.negotiate()
    regions = [region(GUEST_BASE + i * MEMORY, USER_BASE + i * MEMORY) for i in range(count)]
    assert peer.acked(R.SET_MEM_TABLE, table(*regions), [peer.memfd() for _ in range(count)])
    assert layout(backend) == [(GUEST_BASE + i * MEMORY, MEMORY) for i in range(count)]


@pytest.mark.parametrize(("says", "brings", "fds"), [(2, 1, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2), (9, 8, 8), (0, 0, 1)])
def test_table_whose_count_is_wrong_closes(peer: Peer, says: int, brings: int, fds: int, warnings: Warnings) -> None:
    peer.negotiate()
    regions = [region(GUEST_BASE + i * MEMORY, USER_BASE + i * MEMORY) for i in range(brings)]
    body = says.to_bytes(4, "little") + table(*regions)[4:]
    peer.send(R.SET_MEM_TABLE, body, [peer.memfd() for _ in range(fds)], ack=True)
    assert not peer.alive
    assert len(warnings()) == 1


def test_same_table_again_keeps_the_mappings(guest: Peer, backend: FakeBackend) -> None:
    fd = guest.fds[0]
    kept = backend.regions[0]
    before = open_fds()
    assert guest.acked(R.SET_MEM_TABLE, table(region()), [fd])
    assert backend.regions == [kept]
    assert open_fds() == before
    assert not backend.of("remove_region")


def test_new_table_replaces_only_what_differs(guest: Peer, backend: FakeBackend) -> None:
    kept = backend.regions[0]
    assert guest.acked(R.SET_MEM_TABLE, table(region(), second()), [guest.fds[0], guest.memfd()])
    third = region(GUEST_BASE + 4 * MEMORY, USER_BASE + 4 * MEMORY)
    assert guest.acked(R.SET_MEM_TABLE, table(third, region()), [guest.memfd(), guest.fds[0]])
    assert layout(backend) == [(GUEST_BASE, MEMORY), (GUEST_BASE + 4 * MEMORY, MEMORY)]
    assert kept in backend.regions
    assert backend.of("remove_region") == [(GUEST_BASE + MEMORY, MEMORY)]


def test_same_addresses_with_other_memory_are_mapped_anew(guest: Peer, backend: FakeBackend) -> None:
    old = backend.regions[0]
    assert guest.acked(R.SET_MEM_TABLE, table(region()), [guest.memfd()])
    assert backend.regions[0] is not old
    assert old.memory.fd < 0


def test_same_add_again_changes_nothing(guest: Peer, backend: FakeBackend) -> None:
    """QEMU 7.2 sends ADD_MEM_REG for each queue pair."""
    before = open_fds()
    assert guest.acked(R.ADD_MEM_REG, region(), [guest.fds[0]])
    assert len(backend.of("add_region")) == 1
    assert open_fds() == before


def test_remove_and_again(guest: Peer, backend: FakeBackend) -> None:
    assert guest.acked(R.REM_MEM_REG, region())
    assert guest.acked(R.REM_MEM_REG, region(), [guest.memfd()])  # a stray fd is closed
    assert backend.of("remove_region") == [(GUEST_BASE, MEMORY)]
    guest.add_memory()


@pytest.mark.parametrize(
    "wrong", [region(gpa=GUEST_BASE + 0x1000), region(uaddr=USER_BASE + 0x1000), region(size=MEMORY - 0x1000)]
)
def test_remove_needs_all_three_addresses(guest: Peer, backend: FakeBackend, wrong: SingleRegion) -> None:
    assert not guest.acked(R.REM_MEM_REG, wrong)
    assert layout(backend) == [(GUEST_BASE, MEMORY)]


def test_remove_does_not_look_at_the_offset(guest: Peer, backend: FakeBackend) -> None:
    assert guest.acked(R.REM_MEM_REG, region(offset=0x5000))
    assert not backend.regions


def test_509_regions_and_no_more(peer: Peer, backend: FakeBackend) -> None:
    peer.negotiate()
    fd = peer.memfd(510 * 0x1000)
    for i in range(510):
        one = region(GUEST_BASE + i * 0x1000, USER_BASE + i * 0x1000, 0x1000, i * 0x1000)
        assert peer.acked(R.ADD_MEM_REG, one, [fd]) == (i < 509)
    assert len(backend.regions) == 509


def test_core_is_asked_before_anything_is_mapped_for_the_device(guest: Peer, backend: FakeBackend) -> None:
    backend.fail["check_regions"] = IommuError("falls into a hole")
    before = open_fds()
    fd = guest.memfd()
    assert not guest.acked(R.SET_MEM_TABLE, table(second()), [fd])
    assert layout(backend) == [(GUEST_BASE, MEMORY)]
    assert len(backend.of("add_region")) == 1
    assert len(open_fds()) == len(before) + 1  # the test's own


@pytest.mark.parametrize("fail", ["add_region", "remove_region"])
def test_failed_replacement_puts_the_old_table_back(guest: Peer, backend: FakeBackend, fail: str) -> None:
    guest.start(0)
    fds = [guest.memfd(), guest.memfd()]
    before = open_fds()
    backend.fail[fail] = IommuError("no")
    assert not guest.acked(R.SET_MEM_TABLE, table(second(), region()), fds)
    assert layout(backend) == [(GUEST_BASE, MEMORY)]
    assert open_fds() == before
    assert backend.of("start_queue") == [(0,), (0,)]  # stopped for the change, started again
    assert guest.acked(R.SET_MEM_TABLE, table(second(), region()), fds)


def test_region_that_cannot_be_put_back_is_let_go(guest: Peer, backend: FakeBackend, warnings: Warnings) -> None:
    real = backend.add_region

    def refuse(region: Region) -> None:
        raise IommuError(f"no {region}")

    backend.add_region = refuse  # type: ignore[method-assign]
    fd = guest.memfd()
    before = len(open_fds())
    assert not guest.acked(R.SET_MEM_TABLE, table(second()), [fd])
    assert len(open_fds()) == before - 1
    assert any("is lost" in line for line in warnings())
    backend.add_region = real  # type: ignore[method-assign]
    guest.add_memory()


# Under running rings


def test_hot_plug_leaves_running_rings_alone(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    assert guest.acked(R.ADD_MEM_REG, second(), [guest.memfd()])
    assert guest.acked(R.REM_MEM_REG, second())
    assert not backend.of("stop_queue")


def test_ring_whose_memory_moves_is_restarted_where_it_was(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    backend.position[0] = 77
    moved = region(gpa=2 * GUEST_BASE)
    assert guest.acked(R.SET_MEM_TABLE, table(moved), [guest.fds[0]])
    names = backend.names()
    assert names[names.index("stop_queue") :][:3] == ["stop_queue", "remove_region", "add_region"]
    assert backend.of("set_ring")[-1][1].desc == 2 * GUEST_BASE
    assert backend.of("set_base")[-1] == (0, 77)
    assert backend.of("start_queue") == [(0,), (0,)]


def test_ring_whose_memory_goes_is_stopped_and_its_error_fd_signalled(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    err = guest.eventfd()
    assert guest.acked(R.SET_VRING_ERR, U64(value=0), [err])
    backend.position[0] = 77
    assert guest.acked(R.REM_MEM_REG, region())
    assert os.eventfd_read(err) == 1
    assert guest.ask(R.GET_VRING_BASE, VringState(index=0)) == 77
    assert guest.alive


def test_ring_in_other_memory_goes_on(guest: Peer, backend: FakeBackend) -> None:
    assert guest.acked(R.ADD_MEM_REG, second(), [guest.memfd()])
    guest.start(0)
    assert guest.acked(R.SET_VRING_NUM, VringState(index=1, num=256))
    assert guest.acked(R.SET_VRING_ADDR, ring_at(1, USER_BASE + MEMORY))
    assert guest.acked(R.SET_VRING_KICK, U64(value=1), [guest.eventfd()])
    assert guest.acked(R.REM_MEM_REG, second())
    assert backend.of("stop_queue") == [(1,)]
