"""Kicks reach the device, by either way."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import vfiodpa
from hwtests.footprint import threads
from tests.settle import wait_asleep
from vfiodpa.errors import DeviceTimeout
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.virtio_net import NetHdr
from vfiodpa.vdpa.doorbell import DoorbellMode, Doorbells

TX = 1
QUIET = 0.05  # seconds without a kick


class Bench:
    """A started guest on a NIC that sleeps at once, so that nothing moves without a kick."""

    def __init__(self, options: str) -> None:
        self.nic = vfiodpa.open(f"soft:port=discard,poll=0,{options}")
        self.guest: DirectGuest = self.nic.guest()
        self.guest.start()
        self.bells = Doorbells(self.nic.device)
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        size = NetHdr.size + 60
        self.packet = (self.guest.memory.alloc(size), size)

    def publish(self) -> None:
        """Make a frame available while the NIC sleeps, so that only a kick can tell it."""
        assert isinstance(self.nic.function, SoftFunction)
        wait_asleep(self.nic.function)
        self.guest.queues[TX].add(readable=[self.packet])
        self.guest.queues[TX].publish()

    def taken(self, seconds: float = 5.0) -> bool:
        try:
            self.guest.queues[TX].wait(seconds)
        except DeviceTimeout:
            return False
        return True

    def close(self) -> None:
        self.bells.close()
        self.guest.close()
        self.nic.close()
        os.close(self.kick)


@pytest.fixture(params=["ioeventfd=on", "ioeventfd=off", "ioeventfd=on,notif_data=on", "ioeventfd=off,notif_data=on"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    one = Bench(request.param)
    yield one
    one.close()


def test_a_signal_rings(bench: Bench) -> None:
    bench.bells.connect(TX, bench.kick)
    for _ in range(3):
        bench.publish()
        assert not bench.taken(QUIET)
        os.eventfd_write(bench.kick, 1)
        assert bench.taken()


def test_after_disconnect_nobody_listens(bench: Bench) -> None:
    bench.bells.connect(TX, bench.kick)
    bench.bells.disconnect(TX)
    bench.publish()
    os.eventfd_write(bench.kick, 1)
    assert not bench.taken(QUIET)
    assert os.eventfd_read(bench.kick) == 1  # still there


def test_another_fd_replaces_the_first(bench: Bench) -> None:
    other = os.eventfd(0, os.EFD_NONBLOCK)
    bench.bells.connect(TX, other)
    bench.bells.connect(TX, bench.kick)
    bench.publish()
    os.eventfd_write(other, 1)
    assert not bench.taken(QUIET)
    os.eventfd_write(bench.kick, 1)
    assert bench.taken()
    os.close(other)


def test_closing_disconnects_all(bench: Bench) -> None:
    bench.bells.connect(0, bench.kick)
    bench.bells.connect(TX, bench.kick)
    bench.bells.close()
    assert bench.bells.choices == {}
    bench.publish()
    os.eventfd_write(bench.kick, 1)
    assert not bench.taken(QUIET)
    bench.bells.close()  # harmless


def test_disconnecting_what_is_not_connected_is_harmless(bench: Bench) -> None:
    bench.bells.disconnect(TX)


@pytest.mark.parametrize(
    ("options", "mode", "reason"),
    [
        ("ioeventfd=on", DoorbellMode.IOEVENTFD, "the function takes the kick eventfd itself"),
        ("ioeventfd=off", DoorbellMode.RELAY, "no ioeventfd: no doorbell can be bound to an eventfd"),
    ],
    ids=["ioeventfd", "relay"],
)
def test_the_choice_and_its_reason_are_shown(options: str, mode: DoorbellMode, reason: str) -> None:
    one = Bench(options)
    choice = one.bells.connect(TX, one.kick)
    assert one.bells.choices == {TX: choice}
    one.close()
    assert choice.mode is mode
    assert choice.reason == f"{reason}; no host notifier: there is no front end to ask"


def test_all_queues_share_one_relay_thread() -> None:
    one = Bench("ioeventfd=off")
    before = len(threads())
    for queue in (0, 1):
        one.bells.connect(queue, one.kick)
    assert len(threads()) == before + 1
    one.bells.close()
    assert len(threads()) == before
    one.close()
