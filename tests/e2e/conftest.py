"""Served NICs and guests that end with the test, and the proof that nothing of them is left."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import vfiodpa
from tests.e2e.rig import DEADLINE, Census, Served, Stream
from vfiodpa.guest.vhost_user import VhostUserGuest

Serve = Callable[..., Served]
Connect = Callable[..., VhostUserGuest]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """All fds and threads that a test made are gone after it."""
    before = Census.take()
    yield
    end = time.monotonic() + 5
    while (more := Census.take().grew_since(before)) and time.monotonic() < end:
        time.sleep(0.01)  # Python joins a thread before it has left the interpreter
    assert not more, f"left behind: {more}"


@pytest.fixture
def ends(nothing_left_behind: None) -> Iterator[ExitStack]:
    """What the test opens through the fixtures below is closed in reverse order."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(ends: ExitStack, tmp_path: Path) -> Serve:
    """``serve("soft:...")``: a NIC served in a thread. ``deadline``: seconds that a peer may stall."""
    numbers = itertools.count()

    def make(device: str = "soft", *, deadline: float = 0.0, **how: Any) -> Served:
        nic = ends.enter_context(vfiodpa.open(device))
        service = ends.enter_context(nic.serve(tmp_path / f"{next(numbers)}.sock", **how))
        if deadline:
            service._endpoint._deadline = deadline
        service.start()
        return Served(nic, service)

    return make


@pytest.fixture
def connect(ends: ExitStack) -> Connect:
    """``connect(served)``: a guest that is connected and not started."""

    def make(served: Served, **how: Any) -> VhostUserGuest:
        guest = VhostUserGuest(served.path, **{"timeout": DEADLINE, **how})
        return ends.enter_context(guest)

    return make


@pytest.fixture
def neighbour(serve: Serve, connect: Connect) -> Iterator[Stream]:
    """Another guest on another NIC of this process, whose traffic must stay clean throughout."""
    guest = connect(serve())
    guest.start()
    stream = Stream(guest)
    yield stream
    stream.flows()
    stream.stop()
