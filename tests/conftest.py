"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

# No deadlines: a busy machine is no failure. CI tries the same examples each time.
settings.register_profile("vfiodpa", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("vfiodpa")


@pytest.fixture
def eventfd() -> Iterator[Callable[[], int]]:
    """Makes eventfds, and closes them."""
    fds: list[int] = []

    def make() -> int:
        fds.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)
