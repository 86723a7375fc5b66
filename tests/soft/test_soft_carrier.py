"""The carrier of a wire that leads out of the process, with a data path that says what the test wants."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.settle import settles
from vfiodpa.errors import errno_name
from vfiodpa.soft.carrier import Carrier
from vfiodpa.soft.device_string import parse_options
from vfiodpa.soft.engine import Engine

DOWN = f"packet=near: {errno_name(errno.ENETDOWN)}"


class Wire:
    """What the carrier sees of an engine."""

    def __init__(self) -> None:
        self.wire = SimpleNamespace(event=os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        self.error = self.capture = 0

    def port_error(self) -> int:
        return self.error

    def capture_error(self) -> int:
        return self.capture

    def say(self, error: int = 0, capture: int = 0) -> None:
        self.error, self.capture = error, capture
        os.eventfd_write(self.wire.event, 1)


@pytest.fixture
def wire() -> Iterator[Wire]:
    one = Wire()
    yield one
    os.close(one.wire.event)


@pytest.fixture
def carry(wire: Wire) -> Iterator[Callable[[Callable[[bool], None]], Carrier]]:
    """A carrier of ``packet=near`` on that wire."""
    made: list[Carrier] = []

    def make(changed: Callable[[bool], None]) -> Carrier:
        options = parse_options("soft:packet=near,capture=all.pcapng")
        made.append(Carrier("soft9", options, cast("Engine", wire), changed))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_who_sees_the_link_down_can_ask_why(wire: Wire, carry: Callable[..., Carrier]) -> None:
    seen: list[tuple[bool, str]] = []

    def changed(up: bool) -> None:
        seen.append((up, carrier.trouble()))

    carrier = carry(changed)
    wire.say(errno.ENETDOWN)
    assert settles(lambda: len(seen) == 1)
    wire.say()
    assert settles(lambda: len(seen) == 2)
    assert seen == [(False, DOWN), (True, "")]


def test_another_reason_is_told_and_is_no_change(wire: Wire, carry: Callable[..., Carrier]) -> None:
    seen: list[bool] = []
    carrier = carry(seen.append)
    wire.say(errno.ENETDOWN)
    assert settles(lambda: carrier.trouble() == DOWN)
    wire.say(errno.ENODEV)
    assert settles(lambda: carrier.trouble() == f"packet=near: {errno_name(errno.ENODEV)}")
    assert seen == [False]


def test_a_capture_that_ends_is_trouble_but_the_link_stays(
    wire: Wire, carry: Callable[..., Carrier], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    carrier = carry(seen.append)
    wire.say(capture=errno.ENOSPC)
    assert settles(lambda: carrier.trouble() == f"capture to all.pcapng stopped: {errno_name(errno.ENOSPC)}")
    assert seen == []
    assert "the traffic goes on" in caplog.text
