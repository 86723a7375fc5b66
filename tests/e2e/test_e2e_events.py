"""How often the two sides notify each other: as often as they ask for, no more."""

from __future__ import annotations

import os

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import BASIC, PLAIN, move, wait_for
from tests.settle import wait_asleep
from vfiodpa.guest.queue import DriverQueue
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.spec.features import Feature

EVENT = PLAIN | Feature.EVENT_IDX
LAYOUTS = [Feature(0), Feature.RING_PACKED, Feature.IN_ORDER, Feature.RING_PACKED | Feature.IN_ORDER]
Layout = pytest.mark.parametrize("layout", LAYOUTS, ids=["split", "packed", "split-in-order", "packed-in-order"])
ROUNDS = 20


def calls(queue: DriverQueue) -> int:
    """How often the queue was called since the last time; calls that come together are one."""
    try:
        return os.eventfd_read(queue.call_fd)
    except BlockingIOError:
        return 0


def send(guest: VhostUserGuest, frames: int = 1) -> None:
    """Frames sent at once, and given back."""
    transmit = guest.queues[1]
    frame = guest.memory.alloc(128)
    for _ in range(frames):
        transmit.add([(frame, 72)])
    transmit.publish()
    transmit.kick()
    used = 0

    def done() -> bool:
        nonlocal used
        used += len(transmit.pop_all())
        return used == frames

    wait_for(done, "frames sent")


@Layout
@pytest.mark.parametrize("features", [PLAIN, EVENT], ids=["flags", "event-idx"])
def test_a_guest_that_asks_for_no_calls_gets_none(
    serve: Serve, connect: Connect, features: Feature, layout: Feature
) -> None:
    served = serve("soft:poll=0")
    guest = connect(served)
    guest.start(features | layout)
    served.settle(guest)  # each queue is called once at the start
    transmit = guest.queues[1]
    transmit.calls(False)
    calls(transmit)
    for _ in range(ROUNDS):
        send(guest, 3)
    assert calls(transmit) == 0


@Layout
def test_with_event_idx_one_call_for_each_wish(serve: Serve, connect: Connect, layout: Feature) -> None:
    """Frames after the one that was asked for cause none."""
    served = serve("soft:poll=0")
    guest = connect(served)
    guest.start(EVENT | layout)
    served.settle(guest)
    transmit = guest.queues[1]
    transmit.calls(False)
    calls(transmit)
    for _ in range(ROUNDS):
        transmit.calls(True)
        send(guest)
        wait_for(lambda: calls(transmit) == 1, "a call")
        send(guest, 2)
        assert calls(transmit) == 0


@Layout
def test_a_device_at_work_is_kicked_seldom(serve: Serve, connect: Connect, layout: Feature) -> None:
    """It wants no kicks while it polls; a guest that sends on and on saves nearly all of them."""
    guest = connect(serve("soft:poll=1000"))
    guest.start(BASIC | layout)
    total = move(guest, count=20000, poll_us=1000).total
    assert total.kicks < total.sent / 20, total


@Layout
def test_a_device_asleep_is_kicked_once(serve: Serve, connect: Connect, layout: Feature) -> None:
    served = serve("soft:poll=0")
    guest = connect(served)
    guest.start(EVENT | layout)
    for _ in range(ROUNDS):
        wait_asleep(served.function)
        before = served.function.queue_stats(1)["kicks"]
        send(guest)
        assert served.function.queue_stats(1)["kicks"] == before + 1


def test_sides_that_sleep_wake_each_other(serve: Serve, connect: Connect) -> None:
    """One frame at a time, nobody polls: each sleep is ended by the other side, and no frame notifies twice."""
    served = serve("soft:poll=0")
    guest = connect(served)
    guest.start(BASIC)
    wait_asleep(served.function)
    before = served.function.worker_stats()["wakes"]
    verdict = move(guest, count=200, window=1, poll_us=0)
    woken = served.function.worker_stats()["wakes"] - before
    # How often a side sleeps is chance: it may find the next frame on its last look.
    assert woken <= verdict.total.kicks <= 202, (woken, verdict.total)
    assert verdict.sleeps - 1 <= verdict.total.calls <= 2 * 202, verdict  # the last sleep is ended by us
