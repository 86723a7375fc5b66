"""Accesses that are kept around a failure, in words, and memory as people read it."""

from __future__ import annotations

import pytest

from tests.validate.validate_rig import a_runner
from vfiodpa.soft.function import SoftFunction
from vfiodpa.trace.file import Subject
from vfiodpa.trace.names import Names
from vfiodpa.trace.records import Access, Map, Reset
from vfiodpa.trace.tail import KEEP, Tail
from vfiodpa.validate.dump import dump_ring, hexdump
from vfiodpa.validate.rings import Buf, make_ring


def read(space: str, offset: int, width: int, value: int) -> Access:
    return Access(space=space, offset=offset, width=width, value=value, write=False)


def write(space: str, offset: int, width: int, value: int) -> Access:
    return Access(space=space, offset=offset, width=width, value=value, write=True)


def words(*accesses: Access | Reset | Map) -> list[list[str]]:
    tail = Tail()
    for access in accesses:
        tail(access)
    with SoftFunction("soft") as function:
        return [line.split() for line in tail.lines(Names(Subject.of(function)))]


def test_a_poll_counts_once_and_pushes_nothing_out() -> None:
    poll = [read("bar0", 0x14, 8, 0)] * (3 * KEEP)
    found = words(write("bar0", 0x14, 8, 1), *poll, read("bar0", 0x14, 8, 1))
    assert [line[0] for line in found] == ["write", "read", "read"]
    assert found[1][-2:] == [f"({3 * KEEP}", "times)"]


def test_only_the_last_ones_are_kept() -> None:
    found = words(*(write("bar0", 0x18, 16, value) for value in range(KEEP + 5)))
    assert [int(line[2], 16) for line in found] == list(range(5, KEEP + 5))


def test_what_is_no_register_access_is_not_kept() -> None:
    assert words(Map(iova=0, length=4096, perm=3), Reset()) == [["reset"]]


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (write("bar0", 0x14, 8, 0x0B), "write common.device_status 0x0b ACKNOWLEDGE DRIVER FEATURES_OK"),
        (read("bar0", 0x1000, 8, 1), "read isr.isr 0x01 QUEUE"),
        (write("bar0", 0x3004, 16, 1), "write notify+0x4 0x0001 queue 1"),
        (read("bar0", 0x2006, 16, 1), "read net.status 0x0001 LINK_UP"),
        (read("bar5", 0x10, 32, 7), "read bar5+0x10 0x00000007"),
    ],
)
def test_an_access_in_words(access: Access, expected: str) -> None:
    assert words(access) == [expected.split()]


def test_selectors_say_what_an_access_is_about() -> None:
    found = words(
        write("bar0", 0x16, 16, 2),
        read("bar0", 0x18, 16, 64),
        write("bar0", 0x00, 32, 1),
        read("bar0", 0x04, 32, 1),
    )
    assert (found[1][-2:], found[3][-1]) == (["queue", "2"], "VERSION_1")


def test_repeated_rows_are_left_out_of_a_hexdump() -> None:
    text = hexdump(b"virtio\xff" + bytes(9) + bytes(64), 0x1000)
    assert text.splitlines() == [
        "0x00001000  76 69 72 74 69 6f ff 00 00 00 00 00 00 00 00 00  virtio..........",
        "0x00001010  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................",
        "*",
        "0x00001040  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................",
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_a_ring_is_shown_where_it_stands(packed: bool) -> None:
    with a_runner() as runner:
        ring = make_ring(packed, runner.memory, 3, 8)
        for length in range(1, 11):
            ring.offer([Buf(0x1000, length, writable=True)])
        text = dump_ring(ring)
        ring.close()
    assert text.startswith(f"queue 3, {'packed' if packed else 'split'}, 8 entries\n")
    assert "desc[1]" in text and "len 10" in text and "WRITE" in text
    assert "desc[9]" not in text
