"""A thousand software NICs in one process, each with a socket of its own, and guests that come to some of them."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import move
from vfiodpa.vdpa.datapath import State

NICS = 1000
DESCRIPTORS = 16 * NICS


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS:
        pytest.skip(f"ulimit -Hn is {hard}, a thousand NICs want {DESCRIPTORS}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_nics_in_one_process(many_descriptors: None, serve: Serve, connect: Connect) -> None:
    """They rest until a guest comes; the first and the last work alike, and so do those between."""
    served = [serve("soft:workers=shared") for _ in range(NICS)]
    begin = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - begin < 0.25
    for one in (served[0], *served[99::100]):
        guest = connect(one)
        guest.start()
        move(guest, count=100)
        guest.close()
        one.wait_state(State.IDLE)
