"""Our driver half and traffic over the software NIC, driven directly: the whole path without a socket."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.settle import settles
from vfiodpa._native import ffi
from vfiodpa.drivers.device import VdpaDevice
from vfiodpa.drivers.registry import driver_for
from vfiodpa.errors import StateError, UsageError
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.queue import Fault, Used
from vfiodpa.guest.traffic import POLL_FOREVER, Mode, PairStats, Plan, Traffic, Verdict, run
from vfiodpa.memory import PAGE_SIZE
from vfiodpa.soft.device_string import parse_options
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature

ALL = Feature.VERSION_1 | Feature.NET_MRG_RXBUF | Feature.EVENT_IDX | Feature.INDIRECT_DESC
Opener = Callable[[str], VdpaDevice]


@pytest.fixture
def open_device() -> Iterator[Opener]:
    functions: list[SoftFunction] = []

    def opener(spec: str) -> VdpaDevice:
        functions.append(SoftFunction(parse_options(spec)))
        return driver_for(functions[-1])

    yield opener
    for function in functions:
        function.close()


@pytest.fixture
def guest(open_device: Opener) -> Iterator[DirectGuest]:
    with DirectGuest(open_device("soft:port=echo,queues=2")) as guest:
        yield guest


def test_a_packet_by_hand(guest: DirectGuest) -> None:
    guest.start()
    receive, transmit = guest.queues[:2]
    inbox, outbox = guest.memory.alloc(2048), guest.memory.alloc(128)
    receive.send(writable=[(inbox, 2048)], cookie="in")
    frame = b"\xff" * 12 + b"\x12\x34" + bytes(range(50))
    guest.memory.write(outbox, bytes(12) + frame)
    transmit.send(readable=[(outbox, 12 + len(frame))], cookie="out")
    assert transmit.wait(5) == Used("out", 0)
    assert receive.wait(5) == Used("in", 12 + len(frame))
    assert guest.memory.read(inbox + 12, len(frame)) == frame
    assert guest.stop() == [1, 1]


@pytest.mark.parametrize("features", [Feature.VERSION_1, ALL], ids=["plain", "everything"])
@pytest.mark.parametrize("segments", [1, 4])
def test_every_frame_comes_back(guest: DirectGuest, features: Feature, segments: int) -> None:
    guest.start(features, pairs=2)
    verdict = run(guest, Plan(sizes=[60, 1514, 9000], count=1500, segments=segments), seconds=20)
    assert verdict.clean, str(verdict)
    assert [pair.distinct for pair in verdict.pairs] == [1500, 1500]
    assert guest.stop() == [queue.position for queue in guest.queues]


def test_polling_never_sleeps(guest: DirectGuest) -> None:
    guest.start()
    verdict = run(guest, Plan(count=500, poll_us=POLL_FOREVER), seconds=20)
    assert verdict.clean
    assert verdict.sleeps == 0


def test_idle_costs_no_cpu(guest: DirectGuest) -> None:
    guest.start()
    with Traffic(guest, Plan(count=10)) as traffic:
        assert traffic.wait(10)
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.1


def test_traffic_twice_on_the_same_queues(guest: DirectGuest) -> None:
    guest.start()
    assert run(guest, Plan(count=300), seconds=20).clean
    assert run(guest, Plan(count=300, sizes=1500), seconds=20).clean


def test_other_receive_buffers_need_a_restart(guest: DirectGuest) -> None:
    guest.start(Feature.VERSION_1)
    run(guest, Plan(count=1), seconds=20)
    with pytest.raises(StateError, match="another size"):
        run(guest, Plan(count=1, sizes=9000))
    guest.start(Feature.VERSION_1)
    assert run(guest, Plan(count=1, sizes=9000), seconds=20).clean


def test_queues_belong_to_the_thread_while_it_runs(guest: DirectGuest) -> None:
    guest.start()
    with Traffic(guest):
        with pytest.raises(StateError, match="in use by a thread"):
            guest.queues[1].pop()
        with pytest.raises(StateError, match="in use by a thread"):
            Traffic(guest)
    guest.queues[1].pop()


def test_stopping_the_guest_stops_its_traffic(guest: DirectGuest) -> None:
    guest.start()
    traffic = Traffic(guest)
    while not traffic.stats().total.received:
        time.sleep(0.01)
    guest.stop()
    assert isinstance(traffic.verdict, Verdict)
    assert traffic.verdict.clean, str(traffic.verdict)


def test_loss_is_seen(open_device: Opener) -> None:
    with DirectGuest(open_device("soft:port=discard")) as guest:
        guest.start()
        verdict = run(guest, Plan(count=100, stall=0.05), seconds=20)
        assert verdict.lost == 100
        assert verdict.problems == ["100 lost", "no frame came through"]


def test_transmit_only(open_device: Opener) -> None:
    with DirectGuest(open_device("soft:port=discard")) as guest:
        guest.start()
        verdict = run(guest, Plan(count=5000, mode=Mode.TRANSMIT), seconds=20)
        assert verdict.clean
        assert verdict.total.transmitted == 5000


def test_receive_only(open_device: Opener) -> None:
    with DirectGuest(open_device("soft:port=generate")) as guest:
        guest.start()
        verdict = run(guest, Plan(count=2000, mode=Mode.RECEIVE), seconds=20)
        assert verdict.total.distinct >= 2000
        assert verdict.total.corrupt + verdict.total.duplicated + verdict.total.foreign == 0


def test_truncated_memory_ends_the_traffic_not_the_process(open_device: Opener) -> None:
    device = open_device("soft:port=echo")
    with DirectGuest(device, memory=GuestMemory(4096 * PAGE_SIZE, sealed=False)) as guest:
        guest.start()
        with Traffic(guest) as traffic:
            os.ftruncate(guest.memory.regions[0].mapping.fd, 0)
            assert traffic.wait(10)
        assert traffic.verdict.total.fault == Fault.MEMORY_GONE
        assert "memory was cut off" in str(traffic.verdict)


def test_live_counters(guest: DirectGuest) -> None:
    guest.start()
    with Traffic(guest) as traffic:
        assert settles(lambda: traffic.stats().total.received > 0, 20)
        first = traffic.stats()
        assert settles(lambda: traffic.stats().total.received > first.total.received, 20)
        second = traffic.stats()
        assert second.seconds > first.seconds
        with pytest.raises(StateError, match="still runs"):
            _ = traffic.verdict


@pytest.mark.parametrize("sizes", [59, 65536, [], [64, 10]])
def test_bad_sizes(guest: DirectGuest, sizes: int | list[int]) -> None:
    guest.start()
    with pytest.raises(UsageError, match="frame sizes"):
        Traffic(guest, Plan(sizes=sizes))


def test_traffic_before_start(guest: DirectGuest) -> None:
    with pytest.raises(UsageError, match="the guest has 0"):
        Traffic(guest)


def test_counters_are_in_the_order_of_the_c_block() -> None:
    block = ffi.typeof("struct vdp_traffic_stats")
    names = [name for name, field in sorted(block.fields, key=lambda item: item[1].offset)]
    assert tuple(names) == PairStats.__slots__
    assert ffi.sizeof(block) == 8 * len(names)


def test_verdict_names_what_was_wrong() -> None:
    pair = PairStats(sent=10, distinct=8, received=9, duplicated=1, corrupt=1, fault=2, fault_detail=99)
    verdict = Verdict(Mode.ECHO, 1.0, 0, (PairStats(sent=5, distinct=5, received=5), pair))
    assert verdict.problems == [
        "2 lost",
        "1 duplicated",
        "1 corrupt",
        "pair 1: the used ring names descriptor 99, which does not exist",
    ]
    assert not verdict.clean
    assert verdict.total.fault == 2
