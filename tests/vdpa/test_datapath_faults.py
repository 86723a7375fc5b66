"""A device that misbehaves under a guest: the guest is told, nothing waits longer than a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.vdpa.fake_device import FakeFrontend
from vfiodpa.drivers.device import QueueState, VdpaDevice
from vfiodpa.drivers.registry import driver_for
from vfiodpa.drivers.waiting import Deadlines
from vfiodpa.errors import DeviceGone
from vfiodpa.frontends.frontend import Region, Ring
from vfiodpa.memory import Gpa, Mapping
from vfiodpa.soft.faults import Fault
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.vdpa.datapath import Datapath, State

BASE = 0x10_0000
FEATURES = Feature.VERSION_1 | Feature.NET_MRG_RXBUF
DEADLINE = 0.2
SLACK = 5.0  # of a machine that others use too
MODELS = pytest.mark.parametrize("model", ["soft", "soft:model=plain", "soft:model=ifcvf"])


class Bench:
    """A datapath on a software NIC with a guest that is only memory and eventfds."""

    def __init__(self, text: str) -> None:
        self.function = SoftFunction(text)
        self.device: VdpaDevice = driver_for(self.function, deadlines=Deadlines(DEADLINE, DEADLINE))
        self.lost: list[DeviceGone] = []
        self.datapath = Datapath(self.device, self.lost.append)
        self.frontend = FakeFrontend()
        self.memory = Mapping.create(0x10000)
        self.fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(4)]

    def attach(self) -> None:
        self.datapath.attach(self.frontend)
        self.datapath.set_features(FEATURES)
        self.datapath.add_region(Region(Gpa(BASE), 0x10000, self.memory))

    def place(self) -> None:
        self.datapath.set_driver_ok(True)
        for queue in range(2):
            at = BASE + 0x2000 * queue
            self.datapath.set_ring(queue, Ring(64, Gpa(at), Gpa(at + 0x800), Gpa(at + 0x1000)))
            self.datapath.set_base(queue, QueueState())
            self.datapath.set_kick(queue, self.fds[2 * queue])
            self.datapath.set_call(queue, self.fds[2 * queue + 1])
            self.datapath.start_queue(queue)
            self.datapath.enable_queue(queue, True)

    def run(self) -> None:
        self.attach()
        self.place()
        assert self.state() is State.RUNNING

    def state(self) -> State:
        return self.datapath.state

    @property
    def reason(self) -> str:
        """What the guest's side was told last."""
        told: tuple[Any, ...] = self.frontend.told[-1]
        assert told[0] == "device"
        return str(told[1])

    def event(self, fd: int) -> None:
        """As the loop does with whatever is readable."""
        dict(self.datapath.events())[fd]()

    def close(self) -> None:
        self.datapath.close()
        self.function.close()
        self.memory.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def bench() -> Iterator[Callable[[str], Bench]]:
    made: list[Bench] = []

    def make(text: str = "soft") -> Bench:
        made.append(Bench(text))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextmanager
def within(deadlines: int) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < deadlines * DEADLINE + SLACK


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.NO_RESET, "the device reset did not end within 0.2 s (fault=no_reset; nor does a function reset help)"),
        (Fault.NO_FEATURES_OK, "the device refused the features"),
        (Fault.NO_VECTOR, "refused MSI-X vector 0 for configuration changes"),
    ],
)
def test_a_device_that_cannot_be_started(bench: Callable[[str], Bench], fault: Fault, says: str) -> None:
    one = bench("soft")
    one.attach()
    one.function.inject_fault(fault)
    with within(1):
        one.place()
    assert one.state() is State.FAILED
    assert says in one.reason
    one.function.inject_fault(None)
    one.datapath.reset()
    one.place()
    assert one.state() is State.RUNNING


@MODELS
def test_a_queue_that_never_stops(bench: Callable[[str], Bench], model: str) -> None:
    """The guest gets its answer: the device is reset, so the queue does stop."""
    one = bench(model)
    one.run()
    one.function.inject_fault(Fault.STUCK_QUEUE)
    with within(1):
        assert one.datapath.stop_queue(0) == QueueState(0)
    assert one.state() is State.FAILED
    assert "the stop of queue 0 did not end within 0.2 s (fault=stuck_queue)" in one.reason
    assert one.reason.count("stuck_queue") == 1
    assert one.frontend.told[:2] == [("queue", 0, one.reason), ("queue", 1, one.reason)]
    assert one.device.status == 0


@MODELS
def test_a_guest_leaves_a_device_that_never_leaves_reset(bench: Callable[[str], Bench], model: str) -> None:
    """Its memory is unmapped while the device has lost Bus Master; the next guest does not wait again."""
    one = bench(model)
    one.run()
    one.function.inject_fault(Fault.NO_RESET)
    with within(1):
        one.datapath.detach()
    assert one.state() is State.IDLE
    assert not ConfigHeader(one.function.config).command & Command.BUS_MASTER
    start = time.monotonic()
    one.attach()
    one.place()
    assert one.state() is State.FAILED
    assert time.monotonic() - start < SLACK
    assert "has not ended since" in one.reason


# Removal


@MODELS
def test_a_removal_that_is_told(bench: Callable[[str], Bench], model: str) -> None:
    one = bench(model)
    one.run()
    one.function.unplug()
    with within(0):
        one.event(one.function.error_event)
    assert one.state() is State.FAILED
    assert "the device is gone" in one.reason
    assert one.reason.count("unplugged") == 1
    assert [str(error) for error in one.lost] == [one.reason]


def test_a_silent_removal_is_found_by_looking(bench: Callable[[str], Bench]) -> None:
    one = bench("soft")
    one.run()
    one.datapath.check()
    assert one.state() is State.RUNNING
    one.function.inject_fault(Fault.ALL_ONES)
    one.datapath.check()
    assert "the device is gone" in one.reason
    assert len(one.lost) == 1


def test_a_silent_removal_is_found_by_the_next_guest(bench: Callable[[str], Bench]) -> None:
    one = bench("soft")
    one.function.unplug(silently=True)
    one.datapath.check()
    assert not one.lost
    one.attach()
    one.place()
    assert one.state() is State.FAILED
    assert len(one.lost) == 1


def test_a_removal_without_a_guest(bench: Callable[[str], Bench]) -> None:
    one = bench("soft")
    one.function.unplug()
    one.event(one.function.error_event)
    assert (one.state(), len(one.lost)) == (State.IDLE, 1)


def test_a_function_that_is_wanted_back(bench: Callable[[str], Bench]) -> None:
    one = bench("soft")
    one.run()
    one.function.request_release()
    one.event(one.function.release_event)
    assert one.device.status == 0
    assert "wanted back" in one.reason
    assert "wanted back" in str(one.lost[0])


def test_an_error_that_the_device_survives(bench: Callable[[str], Bench]) -> None:
    """PCI reports an error: the device is reset, and the guest may set it up again."""
    one = bench("soft")
    one.run()
    os.eventfd_write(one.function.error_event, 1)
    one.event(one.function.error_event)
    assert "reports an error" in one.reason
    assert not one.lost
    one.datapath.reset()
    one.place()
    assert one.state() is State.RUNNING


def test_a_failure_whose_interrupt_was_lost_is_found_by_looking(bench: Callable[[str], Bench]) -> None:
    one = bench("soft")
    one.run()
    one.function.fail("the wire is on fire")
    one.datapath.check()
    assert one.reason.endswith("needs a reset: the wire is on fire")
    assert not one.lost


@pytest.mark.parametrize("fault", list(Fault))
def test_detaching_never_raises(bench: Callable[[str], Bench], fault: Fault) -> None:
    one = bench("soft:model=ifcvf")
    one.run()
    one.function.inject_fault(fault)
    with within(2):
        one.datapath.detach()
    assert one.state() is State.IDLE


@pytest.mark.parametrize("fault", list(Fault))
def test_what_a_guest_may_ask_meanwhile(bench: Callable[[str], Bench], fault: Fault) -> None:
    """Whatever the call: it returns or raises an error of ours, in time."""
    one = bench("soft:model=ifcvf")
    one.run()
    one.function.inject_fault(fault)
    calls: list[Callable[[], object]] = [
        lambda: one.datapath.set_mtu(1500),
        lambda: one.datapath.set_call(0, one.fds[1]),
        lambda: one.datapath.set_kick(0, one.fds[0]),
        lambda: one.datapath.enable_queue(1, False),
        lambda: one.datapath.enable_queue(1, True),
        lambda: one.datapath.stop_queue(0),
        one.datapath.reset,
        one.place,
        one.datapath.detach,
    ]
    for call in calls:
        with within(2):
            try:
                call()
            except Exception as error:  # noqa: BLE001
                assert type(error).__module__ == "vfiodpa.errors", error
    assert one.state() is State.IDLE
