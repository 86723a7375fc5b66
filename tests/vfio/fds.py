"""This process as the kernel sees it: its fds and its memory."""

from __future__ import annotations

from pathlib import Path

from vfiodpa._native import ffi, lib


def open_fds() -> list[int]:
    """Every fd of this process."""
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]


def link_of(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def write_memory(address: int, data: bytes) -> None:
    """As the kernel writes into the caller's memory."""
    assert lib.vdp_guest_copy_out(ffi.cast("void *", address), ffi.from_buffer(data), len(data)) == 0
