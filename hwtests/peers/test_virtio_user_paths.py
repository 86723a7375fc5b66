"""DPDK's nine virtio-user paths, every frame verified (lab.py), while either side restarts or dies.

These are behaviours that DPDK's own test suite (DTS) looks for; docs/develop.md has the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hwtests.peers.lab import LARGE, PATHS, Lab, RingPath
from vfiodpa.guest.traffic import Plan, Traffic

pytestmark = pytest.mark.timeout(180)

ROUNDS = 3
LAYOUTS = [RingPath(mergeable=True), RingPath(mergeable=True, packed=True)]
MakeLab = Callable[..., Lab]


@pytest.fixture
def lab(directory: Path, need_program: Callable[[str, str], None]) -> Iterator[MakeLab]:
    need_program("dpdk-testpmd", "dpdk-dev")

    def make(path: RingPath, **how: Any) -> Lab:
        one = Lab(directory, path, ends, **how)
        one.guest.start()
        return one

    with ExitStack() as ends:
        yield make


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_path_and_a_restart_of_either_side(lab: MakeLab, path: RingPath) -> None:
    one = lab(path)
    assert one.guest.paths() == path.functions
    one.verify()
    one.guest.restart_port()
    one.verify(500)
    one.restart_server()
    one.verify(500)
    one.restart_guest()
    one.verify(500)
    one.server.stop()


def test_indirect_tables_on_a_packed_ring(lab: MakeLab) -> None:
    """Without chains beside them, which DPDK cannot have there: test_virtio_user_pieces.py."""
    one = lab(RingPath(packed=True, mergeable=True))
    one.verify(500, large=LARGE[1:])
    one.guest.restart_port()
    one.verify(500, large=LARGE[1:])
    one.server.stop()


@pytest.mark.parametrize("path", LAYOUTS, ids=str)
def test_restarts_of_either_side_again_and_again(lab: MakeLab, path: RingPath) -> None:
    """The guest's ports go down and up; the back end ends and comes again."""
    one = lab(path)
    for _ in range(ROUNDS):
        one.guest.restart_port()
        one.verify(200)
        one.restart_server()
        one.verify(200)
    one.server.stop()


@pytest.mark.parametrize("path", LAYOUTS, ids=str)
@pytest.mark.parametrize("who", ["server", "guest"])
def test_either_side_is_killed_under_traffic(lab: MakeLab, path: RingPath, who: str) -> None:
    """Frames in flight are lost; those that are sent afterwards are not."""
    one = lab(path)
    for _ in range(2):
        one.start_traffic()
        with Traffic(one.traffic, Plan(stall=0.2, drain=0.0)) as traffic:
            while traffic.stats().total.received < 1000:
                traffic.wait(0.01)
            if who == "server":
                one.restart_server(kill=True)
            else:
                one.restart_guest(kill=True)
        one.verify(500)
    one.server.stop()


@pytest.mark.parametrize("queues", [8, 16])
@pytest.mark.parametrize("path", LAYOUTS, ids=str)
def test_numbers_of_queues_change_at_run_time(lab: MakeLab, path: RingPath, queues: int) -> None:
    """Of the NIC's pairs virtio-user has at most 8, and uses as many as its port is told, while frames arrive."""
    one = lab(path, pairs=8, queues=queues, ring=256)
    for pairs in (8, 1, 2, 8, 3, 5):
        one.start_traffic(8)
        with Traffic(one.traffic, Plan(stall=0.2, drain=0.0)) as traffic:
            while traffic.stats().total.sent < 1000:
                traffic.wait(0.01)
            one.guest.set_pairs(pairs)
        one.verify(200, pairs=pairs)
        assert set(one.guest.received_by_queue()) == set(range(pairs))
    one.server.stop()
