"""The last accesses, as a report shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vfiodpa.soft.function import SoftFunction
from vfiodpa.trace.file import Subject
from vfiodpa.trace.names import Names
from vfiodpa.trace.records import Access, Mark, Record, Reset, Vector
from vfiodpa.trace.tail import KEEP, Tail

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


def words(*accesses: Record) -> list[str]:
    tail = Tail()
    for access in accesses:
        tail(access)
    with SoftFunction("soft") as function:
        return [" ".join(line.split()) for line in tail.lines(Names(Subject.of(function)))]


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (Access("bar0", 0x14, 8, 0x0B, write=True), "write common.device_status 0x0b ACKNOWLEDGE DRIVER FEATURES_OK"),
        (Reset(), "reset"),
    ],
)
def test_an_access_in_words(access: Record, expected: str) -> None:
    assert words(access) == [expected]


def test_how_often_a_poll_looked_stands_behind_it() -> None:
    assert words(*[POLL] * 7) == ["read common.device_status 0x00 none (7 times)"]


def test_what_is_no_access_is_not_kept() -> None:
    assert words(Vector(0, True), Mark("STS-1")) == []
