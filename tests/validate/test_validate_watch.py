"""The thread that looks at memory the moment a word changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfiodpa.guest.memory import GuestMemory
from vfiodpa.memory import PAGE_SIZE, Gpa
from vfiodpa.validate.watch import Watch


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(PAGE_SIZE) as memory:
        yield memory


@pytest.fixture
def word(memory: GuestMemory) -> Gpa:
    return memory.alloc(64)


def test_a_change_is_seen_with_what_lies_around(memory: GuestMemory, word: Gpa) -> None:
    memory.write(word + 8, b"before")
    with Watch(memory, word, [(word + 8, 6), (word, 2)]) as seen:
        memory.store16(word, 7)
    assert seen.areas == [b"before", b"\x07\x00"]


def test_only_bits_of_the_mask_count(memory: GuestMemory, word: Gpa) -> None:
    with Watch(memory, word, [(word, 2)], mask=0x8000) as seen:
        memory.store16(word, 0x7FFF)
        memory.store16(word, 0x8001)
    assert seen.areas == [b"\x01\x80"]


def test_nothing_is_copied_when_nothing_changes(memory: GuestMemory, word: Gpa) -> None:
    with Watch(memory, word, [(word, 2)], timeout=0.01) as seen:
        pass
    assert seen.areas is None


def test_what_changed_before_does_not_count(memory: GuestMemory, word: Gpa) -> None:
    memory.store16(word, 3)
    with Watch(memory, word, [(word, 2)], timeout=0.01) as seen:
        memory.store16(word, 3)
    assert seen.areas is None
