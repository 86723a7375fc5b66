"""Devices with several workers, and workers with several devices, under traffic."""

from __future__ import annotations

import os

import pytest

from hwtests.footprint import thread_names
from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import BASIC, COUNT, Stream, move
from vfiodpa.guest.traffic import Mode
from vfiodpa.soft.function import SoftFunction
from vfiodpa.soft.workers import SHARED
from vfiodpa.spec.features import Feature

PAIRS = BASIC | Feature.NET_MQ


@pytest.mark.parametrize("options", ["", ",notifier=on", ",port=generate,frame=128"])
def test_each_pair_has_its_worker(serve: Serve, connect: Connect, options: str) -> None:
    served = serve(f"soft:queues=5,workers=2{options}")
    guest = connect(served)
    guest.start(PAIRS, pairs=5, size=64)
    generates = "generate" in options
    move(guest, mode=Mode.RECEIVE if generates else Mode.ECHO)
    served.function.fail("enough")  # nothing is counted any more
    workers = served.function.counters()["workers"]
    assert [worker["pairs"] for worker in workers] == [[0, 2, 4], [1, 3]]
    queue = 0 if generates else 1
    for worker in workers:
        mine = sum(served.packets(2 * pair + queue) for pair in worker["pairs"])
        assert worker["packets"] == mine >= COUNT * len(worker["pairs"])


def test_pairs_that_are_not_active_rest(serve: Serve, connect: Connect) -> None:
    served = serve("soft:queues=4,workers=3")
    guest = connect(served)
    guest.start(PAIRS, pairs=2, size=64)
    move(guest)
    assert [worker["packets"] >= COUNT for worker in served.function.counters()["workers"]] == [True, True, False]


def test_devices_share_the_process_s_workers(serve: Serve, connect: Connect) -> None:
    threads = len(os.sched_getaffinity(0))
    devices = [serve("soft:workers=shared,queues=2") for _ in range(3 * threads)]
    assert thread_names().count("vdp-worker") == SHARED.threads == threads
    for served in devices:
        guest = connect(served)
        guest.start(PAIRS, pairs=2, size=64)
        move(guest)
    assert [served.packets(3) for served in devices] == [COUNT] * len(devices)
    for served in devices:
        served.function.fail("enough")  # nothing is counted any more
    for served in devices:
        (worker,) = served.function.counters()["workers"]
        assert (worker["pairs"], worker["packets"]) == ([0, 1], 3 * 2 * COUNT)


def test_a_device_leaves_shared_workers_under_traffic(serve: Serve, connect: Connect) -> None:
    guest = connect(serve("soft:workers=shared"))
    guest.start()
    stream = Stream(guest)
    for _ in range(20):
        with SoftFunction("soft:workers=shared,queues=2"), SoftFunction("soft:workers=shared"):
            stream.flows()
    stream.stop()
