"""The register mechanism: declared once, checked when the class is made, accessed at the declared width."""

from __future__ import annotations

from enum import IntFlag

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfiodpa.errors import StateError
from vfiodpa.registers import RegisterBlock, SubWindow, reg, reg_array


class Bits(IntFlag):
    ONE = 1
    TWO = 2


class Block(RegisterBlock, size=0x20, ref="test"):
    byte = reg(0x00, 8, Bits)
    half = reg(0x02, 16)
    word = reg(0x04, 32)
    wide = reg(0x08, 64)
    status = reg(0x10, 8, mode="ro")
    command = reg(0x11, 8, mode="wo")
    table = reg_array(0x12, 16, 3, stride=4)


class Memory:
    """A window over bytes that records its accesses."""

    def __init__(self, length: int = 0x20) -> None:
        self.bytes = bytearray(length)
        self.length = length
        self.log: list[tuple[str, int, int]] = []

    def read(self, offset: int, width: int) -> int:
        self.log.append(("r", offset, width))
        return int.from_bytes(self.bytes[offset : offset + width // 8], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        self.log.append(("w", offset, width))
        self.bytes[offset : offset + width // 8] = value.to_bytes(width // 8, "little")


# Access


@pytest.mark.parametrize(("name", "offset", "width"), [("byte", 0, 8), ("half", 2, 16), ("word", 4, 32)])
def test_one_access_of_the_declared_width(name: str, offset: int, width: int) -> None:
    memory = Memory()
    block = Block(memory)
    setattr(block, name, 1)
    assert getattr(block, name) == 1
    assert memory.log == [("w", offset, width), ("r", offset, width)]


def test_64_bits_are_two_32_bit_accesses_low_first() -> None:
    memory = Memory()
    block = Block(memory)
    block.wide = 0x1122_3344_5566_7788
    assert block.wide == 0x1122_3344_5566_7788
    assert memory.log == [("w", 8, 32), ("w", 12, 32), ("r", 8, 32), ("r", 12, 32)]


@given(st.integers(0, 2**64 - 1), st.sampled_from(["half", "word", "wide"]))
def test_what_fits_comes_back_and_the_rest_raises(value: int, name: str) -> None:
    memory = Memory()
    block = Block(memory)
    width = {"half": 16, "word": 32, "wide": 64}[name]
    if value < 1 << width:
        setattr(block, name, value)
        assert getattr(block, name) == value
    else:
        with pytest.raises(ValueError, match=f"Block.{name}.*exceeds {width} bits"):
            setattr(block, name, value)
        assert memory.log == []


def test_a_negative_value_raises() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        Block(Memory()).half = -1


def test_values_have_the_declared_type() -> None:
    block = Block(Memory())
    block.byte = Bits.ONE
    block.byte |= Bits.TWO
    assert block.byte is Bits.ONE | Bits.TWO


def test_modes() -> None:
    block = Block(Memory())
    with pytest.raises(AttributeError, match="status is read-only"):
        block.status = 1
    with pytest.raises(AttributeError, match="command is write-only"):
        _ = block.command


def test_arrays() -> None:
    memory = Memory()
    block = Block(memory)
    block.table[2] = 7
    assert list(block.table) == [0, 0, 7]
    assert len(block.table) == 3
    assert memory.log[0] == ("w", 0x1A, 16)
    for index in (3, -1):
        with pytest.raises(IndexError, match="it has 3 elements"):
            _ = block.table[index]


def test_a_register_the_device_does_not_present() -> None:
    block = Block(Memory(0x10))
    assert block.has(Block.wide)
    assert not block.has(Block.status)
    with pytest.raises(StateError, match=r"Block.status is not there.*0x10 bytes"):
        _ = block.status


def test_dump_shows_what_can_be_read() -> None:
    assert set(Block(Memory()).dump()) == {"byte", "half", "word", "wide", "status", "table"}
    assert set(Block(Memory(8)).dump()) == {"byte", "half", "word"}


def test_lookup_finds_the_register_that_covers_an_offset() -> None:
    assert Block.lookup(0x0C) is Block.wide
    assert Block.lookup(0x01) is None


def test_an_inherited_block_has_its_parents_registers() -> None:
    class Longer(Block, size=0x28):
        more = reg(0x20, 64)

    assert [r.name for r in Longer.registers()][-1] == "more"
    assert len(Longer.registers()) == len(Block.registers()) + 1


@given(st.integers(-8, 40), st.sampled_from([8, 16, 32]))
def test_a_subwindow_has_walls(offset: int, width: int) -> None:
    memory = Memory(0x40)
    window = SubWindow(memory, 0x10, 0x20)
    if offset >= 0 and offset + width // 8 <= 0x20:
        window.write(offset, width, 1)
        assert window.read(offset, width) == 1
        assert memory.log[0] == ("w", 0x10 + offset, width)
    else:
        for access in (lambda: window.read(offset, width), lambda: window.write(offset, width, 1)):
            with pytest.raises(IndexError, match="leaves a window"):
                access()


# Mistakes are found when the class is made


@pytest.mark.parametrize("name", ["size", "ref", "has", "dump", "lookup", "registers", "window_for"])
def test_a_register_cannot_take_a_name_of_the_mechanism(name: str) -> None:
    with pytest.raises(TypeError, match=f"Bad.{name}: the mechanism needs"):
        type("Bad", (RegisterBlock,), {name: reg(0, 32)}, size=4)


def test_overlap() -> None:
    with pytest.raises(TypeError, match=r"Bad.b overlaps a at 0x2"):

        class Bad(RegisterBlock, size=8):
            a = reg(0, 32)
            b = reg(2, 16)


def test_overlap_with_an_array() -> None:
    with pytest.raises(TypeError, match="overlaps"):

        class Bad(RegisterBlock, size=16):
            a = reg_array(0, 8, 6)
            b = reg(5, 8)


def test_past_the_end() -> None:
    with pytest.raises(TypeError, match=r"Bad.b ends at 0x8, past the block's 0x6 bytes"):

        class Bad(RegisterBlock, size=6):
            a = reg(0, 32)
            b = reg(4, 32)


def test_misalignment() -> None:
    with pytest.raises(TypeError, match="not 4-byte aligned"):

        class Bad(RegisterBlock, size=16):
            a = reg(2, 64)


def test_a_width_that_no_access_has() -> None:
    with pytest.raises(TypeError, match="24 bits"):

        class Bad(RegisterBlock, size=16):
            a = reg(0, 24)


# For people


class Shown(RegisterBlock, size=0x40, ref="the data sheet, 7"):
    flags = reg(0x00, 8, Bits)
    plain = reg(0x02, 16)
    secret = reg(0x04, 32, mode="wo")
    events = reg(0x08, 8, mode="rc")
    long = reg_array(0x10, 16, 12)
    absent = reg(0x3C, 32)


def test_a_block_prints_a_table() -> None:
    memory = Memory(0x3C)
    memory.bytes[0], memory.bytes[2] = 3, 0xAB
    assert repr(Shown(memory)).splitlines() == [
        "Shown (the data sheet, 7)",
        "  0x0000  flags   0x03  ONE|TWO",
        "  0x0002  plain   0x00ab",
        "  0x0004  secret  (write-only)",
        "  0x0008  events  (reading clears it)",
        "  0x0010  long    0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 ... (12 in all)",
    ]


def test_neither_printing_nor_dumping_reads_what_reading_clears() -> None:
    memory = Memory(0x3C)
    block = Shown(memory)
    repr(block)
    assert "events" not in block.dump()
    assert ("r", 8, 8) not in memory.log
    assert block.events == 0
    assert ("r", 8, 8) in memory.log


def test_a_register_that_reading_clears_is_read_only() -> None:
    with pytest.raises(AttributeError, match=r"Shown.events is read-only"):
        Shown(Memory(0x3C)).events = 1


def test_a_block_that_cannot_be_read_prints_why() -> None:
    class Gone(Memory):
        def read(self, offset: int, width: int) -> int:
            raise StateError("the device is gone", device="nic0")

    assert repr(Shown(Gone(0x3C))) == "<Shown (the data sheet, 7): nic0: the device is gone>"
