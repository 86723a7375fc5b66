"""ioctl numbers, and that a request takes no other request's argument."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfiodpa.ioctl import ioctl, ior, iow, iowr
from vfiodpa.layout import Layout, array, u8, u16, u32, u64


class Empty(Layout, size=0):
    pass


class Word(Layout, size=4):
    value = u32


class VqInfo(Layout, size=48):
    """struct vduse_vq_info of Linux uapi."""

    index = u32
    num = u32
    desc = u64
    driver = u64
    device = u64
    state = array(u16, 4)
    ready = u8
    padding = array(u8, 7)


class Winsize(Layout, size=8):
    """struct winsize of asm-generic/termios.h."""

    rows = u16
    columns = u16
    x = u16
    y = u16


def test_numbers_as_the_kernel_headers_give_them() -> None:
    assert ioctl(";", 100, Empty).number == 0x3B64  # VFIO_GET_API_VERSION
    assert ioctl(";", 0x85, Word).number == 0x3B85  # IOMMU_IOAS_MAP
    assert ior(0x81, 0x00, type("U64", (Layout,), {"value": u64}, size=8)).number == 0x80088100  # VDUSE_GET_API_VERSION
    assert iow(0x81, 0x17, Word).number == 0x40048117  # VDUSE_VQ_INJECT_IRQ
    assert iowr(0x81, 0x15, VqInfo).number == 0xC0308115  # VDUSE_VQ_GET_INFO


@given(st.integers(0, 255), st.integers(0, 255))
def test_all_parts_are_in_the_number(kind: int, nr: int) -> None:
    for make, direction in ((ioctl, 0), (iow, 1), (ior, 2), (iowr, 3)):
        number = make(kind, nr, Word).number
        assert (number >> 30, number >> 8 & 0xFF, number & 0xFF) == (direction, kind, nr)
        assert number >> 16 & 0x3FFF == (4 if direction else 0)


@pytest.mark.parametrize(("kind", "nr"), [(256, 0), (0, 256), (-1, 0)])
def test_a_number_that_does_not_fit(kind: int, nr: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        ioctl(kind, nr, Word)


def test_the_kernels_answer_comes_back() -> None:
    master, slave = os.openpty()
    try:
        ioctl(0x54, 0x14, Winsize)(slave, Winsize(rows=25, columns=80))  # TIOCSWINSZ
        assert ioctl(0x54, 0x13, Winsize)(slave, Winsize()) == Winsize(rows=25, columns=80)  # TIOCGWINSZ
    finally:
        os.close(master)
        os.close(slave)


def test_another_requests_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="takes Word, not Winsize"):
        ioctl(";", 1, Word)(0, Winsize())  # type: ignore[arg-type]


def test_the_kernels_refusal_is_an_oserror(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="Inappropriate ioctl"):
        ioctl(0x54, 0x13, Winsize)(file.fileno(), Winsize())
