"""Guests that ring the device's doorbell pages: the eventfd is silent, and no kick is lost on the way there or back."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import COUNT, DEADLINE, Served, Stream, move, wait_for, warnings
from vfiodpa._native import lib
from vfiodpa.guest.channel import Message
from vfiodpa.guest.traffic import Plan, Traffic
from vfiodpa.guest.vhost_user import WANTED, VhostUserGuest
from vfiodpa.spec.vhost_user import HOST_NOTIFIERS, U64, Protocol, Request, VringState
from vfiodpa.vdpa.datapath import State

RX, TX = 0, 1
SLEEPY = "soft:port=echo,notifier=on,poll=0"  # nothing moves without a kick
# One frame at a time and no polling: each frame is kicked for.
EACH: dict[str, Any] = {"window": 1, "poll_us": 0}


def kicks(served: Served, queue: int = TX) -> tuple[int, int]:
    """Wake-ups of the worker: by the kick eventfd, by the page."""
    stats = served.function.queue_stats(queue)
    return stats["kicks"], stats["page_kicks"]


def modes(served: Served) -> set[str]:
    return {choice.mode.value for choice in served.datapath.doorbells.values()}


def take(served: Served, guest: VhostUserGuest) -> None:
    """All pages, and the server knows that they are taken."""
    assert guest.take_notifiers(DEADLINE)
    wait_for(lambda: modes(served) == {"notifier"}, f"pages taken: {served.datapath.doorbells}")
    served.settle(guest)  # the server kicks each queue once more after that


def check_silent(served: Served, guest: VhostUserGuest) -> None:
    """Frames come back, every kick of theirs by the page."""
    before, signalled = kicks(served), [eventfd_count(guest, queue.index) for queue in guest.queues]
    with Traffic(guest, Plan(count=COUNT, stall=DEADLINE, drain=DEADLINE, **EACH)) as traffic:
        assert traffic.wait(DEADLINE)
    assert traffic.verdict.clean, str(traffic.verdict)
    by_fd, by_page = (after - old for after, old in zip(kicks(served), before, strict=True))
    assert by_fd == 0
    assert by_page > 0  # a look at the page finds several stores
    assert [eventfd_count(guest, queue.index) for queue in guest.queues] == signalled


def eventfd_count(guest: VhostUserGuest, queue: int) -> int:
    """What the guest's kick eventfd counted; the software NIC never reads it."""
    info = Path(f"/proc/self/fdinfo/{guest._wires[queue].kick}").read_text()
    return int(next(line.split()[1] for line in info.splitlines() if line.startswith("eventfd-count")), 16)


@pytest.mark.parametrize("options", ["", ",ioeventfd=off", ",queues=4,msix=3", ",model=ifcvf"])
def test_kicks_go_through_the_page(serve: Serve, connect: Connect, options: str) -> None:
    served = serve(SLEEPY + options)
    guest = connect(served, notifiers=True)
    guest.start(pairs=guest.queue_pairs)
    take(served, guest)
    assert {guest.rings_by(queue.index) for queue in guest.queues} == {"page"}
    check_silent(served, guest)


def test_kicks_by_hand_are_counted(serve: Serve, connect: Connect) -> None:
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    before = dict(guest.rings)
    packet = (guest.memory.alloc(72), 72)
    guest.queues[TX].send(readable=[packet])
    guest.queues[TX].wait(DEADLINE)
    assert dict(guest.rings) == {**before, "page": 1}


def test_before_the_page_is_taken_the_eventfd_carries(serve: Serve, connect: Connect) -> None:
    """The server does not wait, and the guest does not either."""
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    assert "the front end has not answered yet" in served.datapath.doorbells[TX].reason
    move(guest, **EACH)
    assert kicks(served)[1] == 0
    take(served, guest)
    check_silent(served, guest)


def test_again_at_each_start(serve: Serve, connect: Connect) -> None:
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    for _ in range(3):
        guest.start()
        take(served, guest)
        check_silent(served, guest)
        guest.stop()
        wait_for(lambda: served.datapath.doorbells == {}, "no doorbell")
        assert {guest.rings_by(queue) for queue in (RX, TX)} == {"eventfd"}


def test_one_queue_stops_and_starts(serve: Serve, connect: Connect) -> None:
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    for _ in range(3):
        guest.enable_queue(TX, False)
        guest.requests(0.2)  # the withdrawal
        assert (guest.rings_by(RX), guest.rings_by(TX)) == ("page", "eventfd")
        guest.enable_queue(TX, True)
        take(served, guest)
        check_silent(served, guest)


def test_a_reset_withdraws(serve: Serve, connect: Connect) -> None:
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    guest.reset()
    guest.requests(1.0)
    guest.requests(0.1)
    assert {guest.rings_by(queue) for queue in (RX, TX)} == {"eventfd"}
    guest.start()
    take(served, guest)
    check_silent(served, guest)


def test_a_failed_device_withdraws(serve: Serve, connect: Connect) -> None:
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    served.function.fail()
    served.wait_state(State.FAILED)
    guest.requests(1.0)
    guest.requests(0.1)
    assert {guest.rings_by(queue) for queue in (RX, TX)} == {"eventfd"}


def test_another_kick_eventfd_while_pages_are_used(serve: Serve, connect: Connect) -> None:
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    guest.channel.command(Request.SET_VRING_KICK, U64(value=TX), [guest._wires[TX].kick])
    guest.requests(1.0)
    take(served, guest)
    check_silent(served, guest)


def test_no_kick_is_lost_while_pages_come_and_go(serve: Serve, connect: Connect) -> None:
    """A receive queue that stops takes no frame, but each that is sent is taken by the device."""
    served = serve("soft:port=discard,notifier=on,poll=0")
    guest = connect(served, notifiers=True)
    guest.start()
    packet = (guest.memory.alloc(72), 72)
    end = time.monotonic() + 2
    sent = 0
    while time.monotonic() < end:
        guest.queues[TX].send(readable=[packet])
        sent += 1
        if sent % 3 == 0:
            guest.requests(0.0)  # pages that are offered are taken somewhere between two frames
        if sent % 10 == 0:
            guest.enable_queue(TX, False)
            guest.enable_queue(TX, True)
        guest.queues[TX].wait(DEADLINE)
    assert guest.rings["page"] > 0
    assert guest.rings["eventfd"] > 0
    assert served.packets(TX) == sent


class Refusing(VhostUserGuest):
    """As QEMU without page-per-vq."""

    def _take_page(self, message: Message) -> bool:
        message.close_fds()
        return False


def test_a_front_end_that_refuses(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(SLEEPY)
    with Refusing(served.path, notifiers=True, timeout=DEADLINE) as guest:
        guest.start()
        wait_for(lambda: bool(guest.requests(0.1)) or "refused" in served.datapath.doorbells[TX].reason)
        wait_for(lambda: not guest.requests(0.1), "all requests answered")
        assert modes(served) == {"ioeventfd"}
        assert "the front end refused the page" in served.datapath.doorbells[TX].reason
        move(guest, **EACH)
        assert kicks(served)[1] == 0
    assert warnings(caplog.records) == []


def test_a_front_end_that_never_answers(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(SLEEPY, deadline=0.2)
    guest = connect(served, notifiers=True)
    guest.start()
    wait_for(lambda: "within 0.2 s" in served.datapath.doorbells[TX].reason, "given up")
    move(guest, **EACH)
    assert modes(served) == {"ioeventfd"}
    assert len(warnings(caplog.records)) == 1
    guest.stop()
    guest.start()
    move(guest, **EACH)


def test_a_front_end_that_closes_the_channel(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    assert guest.backend_requests
    guest.backend_requests.close()
    check_silent(served, guest)  # the pages are still there
    guest.stop()
    guest.start()
    move(guest, **EACH)
    assert "no channel" in served.datapath.doorbells[TX].reason
    assert warnings(caplog.records) == []


@pytest.mark.parametrize("protocol", [WANTED & ~Protocol.BACKEND_REQ, WANTED], ids=["no channel", "no notifiers"])
def test_front_ends_of_less_protocol(serve: Serve, connect: Connect, protocol: Protocol) -> None:
    served = serve(SLEEPY)
    guest = connect(served, protocol=protocol)
    guest.start()
    assert "did not negotiate" in served.datapath.doorbells[TX].reason
    move(guest, **EACH)


def test_without_reply_ack(serve: Serve, connect: Connect) -> None:
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True, protocol=WANTED & ~Protocol.REPLY_ACK)
    guest.start()
    take(served, guest)
    check_silent(served, guest)


@pytest.mark.parametrize("best", ["ioeventfd", "relay"])
def test_less_than_the_best_on_demand(serve: Serve, connect: Connect, best: str) -> None:
    served = serve(SLEEPY, doorbell=best)
    guest = connect(served, notifiers=True)
    assert not guest.protocol & HOST_NOTIFIERS & ~Protocol.BACKEND_REQ
    guest.start()
    assert modes(served) == {best}
    assert "it is not wanted" in served.datapath.doorbells[TX].reason
    move(guest, **EACH)


def test_a_guest_that_vanishes_with_pages(serve: Serve, connect: Connect, neighbour: Stream) -> None:
    served = serve(SLEEPY)
    for _ in range(3):
        guest = connect(served, notifiers=True)
        guest.start()
        take(served, guest)
        stream = Stream(guest)
        stream.flows()
        stream.traffic.stop()
        guest.vanish()
        served.wait_state(State.IDLE)
    neighbour.flows()


def test_a_ringing_page_does_no_harm_to_a_stopped_queue(serve: Serve, connect: Connect) -> None:
    """A guest that keeps the page: it rings a queue that is no longer its own."""
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    kept = os.dup(guest._pages[TX]._page.fd)
    guest.channel.call(Request.GET_VRING_BASE, VringState(index=TX))
    bell = guest._pages[TX].doorbell
    for _ in range(1000):
        lib.vdp_doorbell_ring(bell.native)
    guest.vanish()
    served.wait_state(State.IDLE)
    other = connect(served, notifiers=True)
    other.start()
    take(served, other)
    check_silent(served, other)
    os.close(kept)


def test_the_choice_is_logged(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    lines = [line for line in caplog.messages if "queue 1: doorbell by" in line]
    assert "doorbell by ioeventfd" in lines[0]
    assert "doorbell by notifier (the guest rings the device itself, else by ioeventfd)" in lines[1]


def test_a_withdrawal_ends_the_traffic_that_rings_the_page(serve: Serve, connect: Connect) -> None:
    """Its thread holds the page's address."""
    served = serve(SLEEPY)
    guest = connect(served, notifiers=True)
    guest.start()
    take(served, guest)
    with Traffic(guest, Plan(drain=0.0)):
        guest.enable_queue(TX, False)
        guest.requests(DEADLINE)
        assert guest.queues[TX].stop_user is None
