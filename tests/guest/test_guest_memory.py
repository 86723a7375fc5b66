from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfiodpa.errors import DeviceError, LimitError, UsageError
from vfiodpa.guest.memory import HOLE, GuestMemory
from vfiodpa.memory import PAGE_SIZE, Gpa

SIZE = 16 * PAGE_SIZE


def test_what_is_written_is_read_back() -> None:
    with GuestMemory(SIZE) as memory:
        gpa = memory.alloc(100)
        memory.write(gpa, b"\x01\x02\x03")
        assert memory.read(gpa, 5) == b"\x01\x02\x03\x00\x00"


def test_host_sees_the_same_memory() -> None:
    with GuestMemory(SIZE) as memory:
        region = memory.regions[0]
        memory.write(region.gpa + 10, b"hello")
        assert os.pread(region.mapping.fd, 5, 10) == b"hello"
        assert memory.address(region.gpa + 10) == region.mapping.address + 10


def test_three_kinds_of_address_differ() -> None:
    with GuestMemory(SIZE) as memory:
        gpa = memory.regions[0].gpa
        assert len({int(gpa), memory.address(gpa), int(memory.uaddr(gpa))}) == 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5000), st.sampled_from([1, 2, 4, 16, 64, 4096])), max_size=12), st.data())
def test_allocations_never_overlap(wishes: list[tuple[int, int]], data: st.DataObject) -> None:
    with GuestMemory(SIZE, SIZE) as memory:
        live: dict[Gpa, int] = {}
        for size, align in wishes:
            gpa = memory.alloc(size, align)
            assert gpa % align == 0
            assert memory.region_of(gpa, size)
            assert all(gpa + size <= other or other + live[other] <= gpa for other in live)
            live[gpa] = size
            if data.draw(st.booleans()):
                victim = data.draw(st.sampled_from(sorted(live)))
                memory.free(victim)
                del live[victim]


def test_freed_memory_is_used_again() -> None:
    with GuestMemory(SIZE) as memory:
        for _ in range(100):
            memory.free(memory.alloc(SIZE))


def test_full() -> None:
    with GuestMemory(SIZE) as memory:
        memory.alloc(SIZE)
        with pytest.raises(LimitError, match="larger"):
            memory.alloc(1)


def test_access_must_lie_inside_one_region() -> None:
    with GuestMemory(SIZE, SIZE) as memory:
        first, second = memory.regions
        assert second.gpa == first.gpa + SIZE + HOLE
        memory.read(first.gpa + SIZE - 4, 4)
        for gpa, length in [(first.gpa + SIZE - 4, 5), (first.gpa - 1, 1), (0, 1), (first.gpa, SIZE + HOLE + SIZE)]:
            with pytest.raises(UsageError, match="not inside one region"):
                memory.read(gpa, length)


@pytest.mark.parametrize("size", [0, -PAGE_SIZE, PAGE_SIZE + 1])
def test_bad_region_size(size: int) -> None:
    with GuestMemory(SIZE) as memory, pytest.raises(UsageError):
        memory.add_region(size)


def test_regions_may_not_overlap() -> None:
    with GuestMemory(SIZE) as memory:
        with pytest.raises(UsageError, match="overlaps"):
            memory.add_region(PAGE_SIZE, Gpa(memory.regions[0].gpa + SIZE - PAGE_SIZE))
        assert len(memory.regions) == 1


def test_freeing_what_was_not_allocated() -> None:
    with GuestMemory(SIZE) as memory, pytest.raises(UsageError, match="not allocated"):
        memory.free(memory.regions[0].gpa)


def test_sealed_memory_cannot_shrink() -> None:
    with GuestMemory(SIZE) as memory, pytest.raises(PermissionError):
        os.ftruncate(memory.regions[0].mapping.fd, 0)


def test_truncated_memory_is_an_error_not_a_crash() -> None:
    with GuestMemory(SIZE, sealed=False) as memory:
        gpa = memory.alloc(16)
        os.ftruncate(memory.regions[0].mapping.fd, 0)
        for access in (lambda: memory.read(gpa, 4), lambda: memory.write(gpa, b"x"), lambda: memory.store16(gpa, 1)):
            with pytest.raises(DeviceError, match="EFAULT"):
                access()


def test_indices() -> None:
    with GuestMemory(SIZE) as memory:
        gpa = memory.alloc(8)
        memory.store16(gpa + 2, 0xBEEF)
        assert memory.load16(gpa + 2) == 0xBEEF
        assert memory.read(gpa, 6) == b"\x00\x00\xef\xbe\x00\x00"


def test_close_gives_everything_back() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    memory = GuestMemory(SIZE, SIZE)
    memory.close()
    memory.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
