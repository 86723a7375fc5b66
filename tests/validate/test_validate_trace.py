"""Accesses that are kept, decoded, and memory as people read it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.validate.validate_rig import a_runner
from vfiodpa.soft.function import SoftFunction
from vfiodpa.trace.file import Subject
from vfiodpa.trace.names import Names
from vfiodpa.trace.records import Access, Record, Reset
from vfiodpa.trace.tail import KEEP, Tail
from vfiodpa.validate.dump import dump_ring, hexdump
from vfiodpa.validate.rings import Buf, make_ring

POLL = Access("bar0", 0x14, 8, 0, write=False)


def test_a_poll_counts_once_and_pushes_nothing_out() -> None:
    tail = Tail()
    tail(Access("bar0", 0x14, 8, 1, write=True))
    for at in range(3 * KEEP):
        tail(replace(POLL, at=at))
    tail(Access("bar0", 0x14, 8, 1, write=False))
    assert [(one.write, one.value, times) for one, times in tail.kept if isinstance(one, Access)] == [
        (True, 1, 1),
        (False, 0, 3 * KEEP),
        (False, 1, 1),
    ]


def test_only_the_last_ones_are_kept() -> None:
    tail = Tail()
    for value in range(KEEP + 5):
        tail(Access("bar0", 0x18, 16, value, write=True))
    assert [one.value for one, _ in tail.kept if isinstance(one, Access)] == list(range(5, KEEP + 5))


def words(*accesses: Record) -> list[list[str]]:
    tail = Tail()
    for access in accesses:
        tail(access)
    with SoftFunction("soft") as function:
        return [line.split() for line in tail.lines(Names(Subject.of(function)))]


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (Access("bar0", 0x14, 8, 0x0B, write=True), "write common.device_status 0x0b ACKNOWLEDGE DRIVER FEATURES_OK"),
        (Access("bar0", 0x1000, 8, 1, write=False), "read isr.isr 0x01 QUEUE"),
        (Access("bar0", 0x3004, 16, 1, write=True), "write notify+0x4 0x0001 queue 1"),
        (Access("bar0", 0x2006, 16, 1, write=False), "read net.status 0x0001 LINK_UP"),
        (Access("bar5", 0x10, 32, 7, write=False), "read bar5+0x10 0x00000007"),
        (Reset(), "reset"),
    ],
)
def test_an_access_in_words(access: Record, expected: str) -> None:
    assert words(access) == [expected.split()]


def test_how_often_a_poll_looked_stands_behind_it() -> None:
    assert words(*[POLL] * 7) == [["read", "common.device_status", "0x00", "none", "(7", "times)"]]


def test_selectors_say_what_an_access_is_about() -> None:
    found = words(
        Access("bar0", 0x16, 16, 2, write=True),
        Access("bar0", 0x18, 16, 64, write=False),
        Access("bar0", 0x00, 32, 1, write=True),
        Access("bar0", 0x04, 32, 1, write=False),
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
