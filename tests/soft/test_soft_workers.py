"""Pools of workers, and which CPUs a list means."""

from __future__ import annotations

import os
import time

import pytest

from hwtests.footprint import threads
from tests.soft.soft_rig import RING_BYTES, Nic, Ring
from vfiodpa.errors import UsageError
from vfiodpa.soft.function import SoftFunction
from vfiodpa.soft.workers import WorkerPool, parse_cpus
from vfiodpa.spec.features import Feature

CPUS = sorted(os.sched_getaffinity(0))


def pinned() -> list[set[int]]:
    """Where the workers of this process may run."""
    return [os.sched_getaffinity(thread.tid) for thread in threads() if thread.name == "vdp-worker"]


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", (0,)), ("2,3-5", (2, 3, 4, 5)), ("5-6,1", (5, 6, 1)), ("4095", (4095,))]
)
def test_lists_of_cpus(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize(
    "text", ["", ",", "a", "1-", "-1", "3-2", "1,1", "0-4096", "1-2-3", " 1", "²", "0-99999999999"]
)
def test_what_is_no_list_of_cpus(text: str) -> None:
    with pytest.raises(UsageError, match="is no list of CPUs"):
        parse_cpus(text)


def test_a_pool_spreads_nics_and_ends_with_the_last() -> None:
    pool = WorkerPool(2)
    first, second, third = pool.take(), pool.take(), pool.take()
    assert first is not second
    assert sorted([first.nics, second.nics]) == [1, 2]
    assert third in (first, second)
    assert len(pinned()) == 2
    for worker in (first, second, third):
        pool.give_back(worker)
    assert pinned() == []
    again = pool.take()
    assert again not in (first, second)
    pool.give_back(again)


def test_a_pool_s_workers_are_pinned_in_turn() -> None:
    pool = WorkerPool(len(CPUS) + 1, CPUS)
    workers = [pool.take() for _ in range(len(CPUS) + 1)]
    assert sorted(map(str, pinned())) == sorted(str({cpu}) for cpu in [*CPUS, CPUS[0]])
    for worker in workers:
        pool.give_back(worker)


def test_a_pool_of_one_s_own() -> None:
    pool = WorkerPool(1)
    with SoftFunction("soft:workers=shared", pool=pool), SoftFunction("soft:workers=shared", pool=pool):
        assert len(pinned()) == 1
        assert "serving 2 NICs" in repr(pool)
    assert pinned() == []


def test_a_device_s_workers_are_pinned_in_turn() -> None:
    with SoftFunction(f"soft:queues=4,workers=4,cpus={'+'.join(map(str, CPUS))}"):
        assert sorted(map(str, pinned())) == sorted(str({CPUS[i % len(CPUS)]}) for i in range(4))


@pytest.mark.parametrize(("words", "offered"), [("", True), (",workers=shared", True), (",workers=2", False)])
def test_rss_is_offered_where_one_worker_serves_all_pairs(words: str, offered: bool) -> None:
    """None can give a frame to another one's queue: RSS that held for some pairs only would be a lie."""
    nic = Nic(f"soft:queues=4{words}")
    try:
        nic.to_driver()
        features = nic.offered()
        assert features & Feature.NET_MQ
        assert bool(features & Feature.NET_RSS) == offered
    finally:
        nic.close()


def test_a_cpu_that_is_not_there() -> None:
    for keys in ("queues=2,workers=2,cpus=4095", "cpus=4095"):
        with pytest.raises(UsageError, match=r"soft\d+: cannot start .* on CPU 4095 \(EINVAL: this process has"):
            SoftFunction(f"soft:{keys}")
    assert pinned() == []


def test_a_hundred_idle_nics_sleep_on_one_thread() -> None:
    """Memory and time of a thousand: benchmarks/scale.py."""
    pool = WorkerPool(1)
    nics = [Nic("soft:workers=shared", pool) for _ in range(100)]
    for nic in nics:
        nic.bring_up()
    assert len(pinned()) == 1
    nics[0].wait_asleep()
    before = time.process_time(), nics[0].f.worker_stats()
    time.sleep(0.2)
    assert nics[-1].f.worker_stats() == before[1]
    assert time.process_time() - before[0] < 0.02
    for nic in nics:
        nic.close()
    assert pinned() == []


def test_an_error_on_one_worker_stops_the_others_when_it_is_seen() -> None:
    nic = Nic("soft:queues=4,workers=3")
    nic.bring_up()
    bad, good = Ring(nic, 5), Ring(nic, 7)
    bad.buffers = RING_BYTES * 100  # where no memory is
    bad.offer(bytes(72))
    nic.bell(5)
    assert nic.wait_needs_reset()
    assert nic.f.device.error().queue == 5
    good.offer(bytes(72))
    nic.f.device.engine.kick(7)
    assert not good.wait_used(1, seconds=0.02)
    nic.bring_up()
    good = Ring(nic, 7)
    good.offer(bytes(72))
    nic.bell(7)
    assert good.wait_used(1)
    nic.close()
