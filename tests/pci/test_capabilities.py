"""The walk of the capability list."""

from __future__ import annotations

import struct

import pytest

from vfiodpa.errors import DeviceError
from vfiodpa.pci.capabilities import capabilities, read_layout
from vfiodpa.spec.pci import CapHeader, CapId, Status
from vfiodpa.spec.virtio_pci import VirtioPciCap

SIZE = 256


class Bytes:
    """Configuration space as plain bytes."""

    length = SIZE

    def __init__(self, status: int = Status.CAPABILITIES, first: int = 0) -> None:
        self.raw = bytearray(SIZE)
        self.raw[0x06:0x08] = status.to_bytes(2, "little")
        self.raw[0x34] = first

    def put(self, at: int, kind: int, following: int) -> None:
        self.raw[at : at + 2] = bytes((kind, following))

    def read(self, offset: int, width: int) -> int:
        if offset + width // 8 > SIZE:
            raise IndexError(offset)
        return int.from_bytes(self.raw[offset : offset + width // 8], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        raise AssertionError("nobody writes here")


def test_it_goes_in_list_order() -> None:
    config = Bytes(first=0x80)
    config.put(0x80, CapId.MSIX, 0x40)
    config.put(0x40, CapId.VENDOR, 0xFC)
    config.put(0xFC, CapId.POWER_MANAGEMENT, 0)
    assert list(capabilities(config)) == [(0x80, CapId.MSIX), (0x40, CapId.VENDOR), (0xFC, CapId.POWER_MANAGEMENT)]


def test_the_status_register_says_whether_there_is_a_list() -> None:
    config = Bytes(status=0, first=0x40)
    config.put(0x40, CapId.VENDOR, 0)
    assert list(capabilities(config)) == []


def test_an_empty_list() -> None:
    assert list(capabilities(Bytes(first=0))) == []


def test_the_low_two_bits_of_a_pointer_are_reserved() -> None:
    config = Bytes(first=0x43)
    config.put(0x40, CapId.VENDOR, 0x52)
    config.put(0x50, CapId.MSIX, 3)
    assert [at for at, _ in capabilities(config)] == [0x40, 0x50]


def test_a_loop_ends_as_an_error() -> None:
    config = Bytes(first=0x40)
    config.put(0x40, CapId.VENDOR, 0x50)
    config.put(0x50, CapId.VENDOR, 0x40)
    with pytest.raises(DeviceError, match="loops"):
        list(capabilities(config))


def test_a_list_that_fills_all_of_the_space_is_no_loop() -> None:
    config = Bytes(first=0x40)
    offsets = list(range(0x40, SIZE, 4))
    for at, following in zip(offsets, [*offsets[1:], 0], strict=True):
        config.put(at, CapId.VENDOR, following)
    assert [at for at, _ in capabilities(config)] == offsets


def test_a_pointer_into_the_header_is_an_error() -> None:
    config = Bytes(first=0x40)
    config.put(0x40, CapId.VENDOR, 0x10)
    with pytest.raises(DeviceError, match="0x10 points into the header"):
        list(capabilities(config))


def test_a_structure_is_read_where_it_stands() -> None:
    config = Bytes()
    config.raw[0x51:0x61] = struct.pack("<BBBBBBHII", CapId.VENDOR, 0, 16, 1, 4, 0, 0, 0x1000, 0x40)
    cap = read_layout(config, 0x51, VirtioPciCap)
    assert (cap.cap_id, cap.cfg_type, cap.bar, cap.offset, cap.length) == (CapId.VENDOR, 1, 4, 0x1000, 0x40)
    assert read_layout(config, SIZE - CapHeader.size, CapHeader).cap_id == 0
