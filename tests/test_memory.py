"""One owner per mapping and fd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vfiodpa._native import ffi, lib
from vfiodpa.errors import VfiodpaError
from vfiodpa.memory import PAGE_SIZE, Mapping

MAPS = Path("/proc/self/maps")


def memfd(size: int) -> int:
    fd = os.memfd_create("test", os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def poke(address: int, data: bytes) -> int:
    return int(lib.vdp_guest_copy_out(ffi.cast("void *", address), data, len(data)))


def peek(address: int, length: int) -> bytes:
    out = ffi.new("char[]", length)
    assert lib.vdp_guest_copy_in(out, ffi.cast("void *", address), length) == 0
    return bytes(ffi.buffer(out, length))


def maps() -> int:
    return MAPS.read_text().count("memfd:")


def test_new_memory_is_zeroed_and_shared() -> None:
    with Mapping.create(2 * PAGE_SIZE, "mine") as memory:
        assert peek(memory.address, memory.length) == bytes(2 * PAGE_SIZE)
        os.pwrite(memory.fd, b"hello", PAGE_SIZE)
        assert peek(memory.address + PAGE_SIZE, 5) == b"hello"
        assert poke(memory.address, b"back") == 0
        assert os.pread(memory.fd, 4, 0) == b"back"


@pytest.mark.parametrize("offset", [0, 1, 0x800, PAGE_SIZE, PAGE_SIZE + 0x123])
def test_the_address_is_that_of_the_offset(offset: int) -> None:
    fd = memfd(4 * PAGE_SIZE)
    os.pwrite(fd, b"here", offset)
    with Mapping(fd, PAGE_SIZE, fd_offset=offset) as memory:
        assert peek(memory.address, 4) == b"here"
        assert memory.address % PAGE_SIZE == offset % PAGE_SIZE
        assert memory.length == PAGE_SIZE


def test_a_read_only_mapping_cannot_be_written() -> None:
    """A protection fault is a bug of ours and not a guest's doing: it kills, loudly."""
    with Mapping(memfd(PAGE_SIZE), PAGE_SIZE, writable=False) as memory:
        assert peek(memory.address, 1) == b"\0"
        line = next(line for line in MAPS.read_text().splitlines() if line.startswith(f"{memory.address:x}-"))
    assert line.split()[1] == "r--s"


def test_it_works_on_a_descriptor_that_is_open_for_reading_only() -> None:
    fd = memfd(PAGE_SIZE)
    reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    with pytest.raises(VfiodpaError, match="EACCES"):
        Mapping(os.dup(reading), PAGE_SIZE)
    with Mapping(reading, PAGE_SIZE, writable=False):
        pass


def test_closing_unmaps_and_closes() -> None:
    before = maps()
    memory = Mapping.create(PAGE_SIZE)
    fd = memory.fd
    assert maps() == before + 1
    memory.close()
    assert (maps(), is_open(fd)) == (before, False)
    assert repr(memory) == f"<Mapping {PAGE_SIZE:#x} bytes, closed>"


def test_closing_twice_is_harmless_even_when_the_number_was_reused() -> None:
    memory = Mapping.create(PAGE_SIZE)
    memory.close()
    fd = memfd(PAGE_SIZE)
    memory.close()
    assert is_open(fd)
    os.close(fd)


def test_when_mapping_fails_the_fd_is_closed() -> None:
    fd = os.eventfd(0)
    with pytest.raises(VfiodpaError, match="ENODEV: No such device"):
        Mapping(fd, PAGE_SIZE)
    assert not is_open(fd)


def test_a_length_that_cannot_be_mapped() -> None:
    fd = memfd(PAGE_SIZE)
    with pytest.raises(VfiodpaError, match="cannot map"):
        Mapping(fd, 1 << 62)
    assert not is_open(fd)


def test_memory_that_is_cut_off_is_an_error_and_not_a_death() -> None:
    with Mapping.create(2 * PAGE_SIZE) as memory:
        os.ftruncate(memory.fd, PAGE_SIZE)
        assert poke(memory.address, b"still there") == 0
        assert poke(memory.address + PAGE_SIZE, b"gone") < 0


def test_outside_guarded_code_a_lost_page_still_kills() -> None:
    """The guard does not hide SIGBUS from anybody else's memory."""
    code = (
        "import mmap, os, vfiodpa.memory\n"
        "vfiodpa.memory.Mapping.create(4096).close()\n"
        "fd = os.memfd_create('x'); os.ftruncate(fd, 4096)\n"
        "m = mmap.mmap(fd, 4096); os.ftruncate(fd, 0); m[0]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=30)
    assert done.returncode == -signal.SIGBUS
