"""The layout mechanism: dense, checked against a written size, values that fit."""

from __future__ import annotations

import struct
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfiodpa.layout import Layout, array, be16, be32, le8, le16, le32, le64, u8, u16, u32, u64


class Mixed(Layout, size=36, ref="test"):
    a = le64
    b = le32
    c = le16
    d = be16
    e = be32
    f = u16
    g = u8
    h = le8
    mac = array(u8, 6)
    tail = array(le16, 3)


class Host(Layout, size=16):
    a = u64
    b = u32
    c = u16
    d = u16


def limits(field: Any) -> st.SearchStrategy[Any]:
    one = st.integers(0, (1 << 8 * field.width) - 1)
    return st.tuples(*[one] * field.count) if field.count else one


def values(layout: type[Layout]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({f.name: limits(f) for f in layout.fields})


@given(values(Mixed))
def test_pack_and_unpack_are_inverse(given_values: dict[str, Any]) -> None:
    packed = Mixed(**given_values).pack()
    assert len(packed) == Mixed.size
    assert Mixed.unpack(packed) == Mixed(**given_values)
    assert Mixed.unpack(packed + b"more").values == given_values


@given(st.binary(min_size=36, max_size=36))
def test_every_pattern_of_bytes_survives(data: bytes) -> None:
    assert Mixed.unpack(data).pack() == data


@given(values(Host))
def test_host_fields_agree_with_struct(given_values: dict[str, Any]) -> None:
    assert Host(**given_values).pack() == struct.pack("=QIHH", *(given_values[n] for n in "abcd"))


@given(values(Mixed))
def test_the_dtype_reads_the_same_fields(given_values: dict[str, Any]) -> None:
    row = np.frombuffer(Mixed(**given_values).pack(), dtype=Mixed.dtype)[0]
    assert {name: row[name].tolist() for name in given_values} == {
        name: list(v) if isinstance(v, tuple) else v for name, v in given_values.items()
    }


def test_byte_orders() -> None:
    packed = Mixed(a=1, d=1, e=1, f=1).pack()
    assert packed[:8] == b"\x01" + bytes(7)
    assert packed[14:20] == b"\x00\x01\x00\x00\x00\x01"
    assert packed[20:22] == (1).to_bytes(2, sys.byteorder)


def test_offsets() -> None:
    assert [Mixed.offset_of(n) for n in ("a", "b", "c", "d", "e", "f", "g", "mac", "tail")] == [
        0,
        8,
        12,
        14,
        16,
        20,
        22,
        24,
        30,
    ]


@pytest.mark.parametrize(("name", "value"), [("a", 1 << 64), ("c", 1 << 16), ("g", 256), ("b", -1)])
def test_a_value_that_does_not_fit(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"Mixed.{name}: .* exceeds"):
        Mixed(**{name: value})


def test_a_later_assignment_is_checked_too() -> None:
    mixed = Mixed()
    with pytest.raises(ValueError, match="exceeds 16 bits"):
        mixed.c = 1 << 16
    mixed.mac = b"abcdef"
    assert mixed.mac == tuple(b"abcdef")


@pytest.mark.parametrize("mac", [bytes(5), bytes(7)])
def test_an_array_of_another_length(mac: bytes) -> None:
    with pytest.raises(ValueError, match="the specification says 6"):
        Mixed(mac=mac)


def test_an_unknown_field() -> None:
    with pytest.raises(TypeError, match="no field 'nosuch'"):
        Mixed(nosuch=1)


def test_too_few_bytes() -> None:
    with pytest.raises(ValueError, match="takes 36 bytes, got 35"):
        Mixed.unpack(bytes(35))


def test_unpack_takes_a_private_copy() -> None:
    data = bytearray(16)
    host = Host.unpack(memoryview(data))
    data[:] = b"\xff" * 16
    assert host == Host()


def test_fields_of_two_layouts_do_not_mix() -> None:
    class One(Layout, size=4):
        x = le32

    class Two(Layout, size=6):
        first = le16
        x = array(le16, 2)

    assert (One.offset_of("x"), Two.offset_of("x")) == (0, 2)


def test_a_longer_layout_continues_its_parent() -> None:
    class Longer(Host, size=20):
        more = le32

    assert Longer.offset_of("more") == 16
    assert Longer(more=1, a=2).pack() == Host(a=2).pack() + b"\x01\0\0\0"


def test_a_wrong_size_is_found_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="fields sum to 6, the specification says 8"):

        class Bad(Layout, size=8):
            a = le32
            b = le16


@pytest.mark.parametrize("name", ["size", "ref", "fields", "dtype", "values", "pack", "unpack", "offset_of"])
def test_a_field_cannot_take_a_name_of_the_mechanism(name: str) -> None:
    with pytest.raises(TypeError, match=f"Bad.{name}: the mechanism needs"):
        type("Bad", (Layout,), {name: le32}, size=4)


def test_misalignment_is_found_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="not 4-byte aligned"):

        class Bad(Layout, size=6):
            a = le16
            b = le32
