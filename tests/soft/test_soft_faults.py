"""Faults on request: each is seen by the driver as its own named error, in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.drivers.test_on_soft import GUEST, Rig
from vfiodpa.drivers.device import QueueState
from vfiodpa.drivers.registry import driver_for
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.drivers.waiting import Deadlines
from vfiodpa.errors import DeviceError, DeviceGone, DeviceTimeout, FeaturesRefused
from vfiodpa.soft.faults import Fault
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.virtio_pci import CommonCfg, DeviceStatus

DEADLINE = 0.1
SLACK = 5.0  # of a machine that others use too
STUCK = r"the stop of queue 0 did not end within 0\.\d+ s \(fault=stuck_queue\)"
MODELS = pytest.mark.parametrize("model", ["soft:queues=2", "soft:queues=2,model=ifcvf"])


class FastRig(Rig):
    """A driver that does not wait long."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nic = driver_for(self.function, deadlines=Deadlines(DEADLINE, DEADLINE))


@pytest.fixture
def rig() -> Iterator[Callable[[str], FastRig]]:
    made: list[FastRig] = []

    def make(text: str) -> FastRig:
        made.append(FastRig(text))
        return made[-1]

    yield make
    for one in made:
        one.close()


def running(rig: Callable[[str], FastRig], text: str, fault: Fault) -> FastRig:
    one = rig(text)
    one.start()
    one.function.inject_fault(fault)
    return one


@contextmanager
def within(deadlines: int) -> Iterator[None]:
    """No longer than so many deadlines, and a slow machine."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < deadlines * DEADLINE + SLACK


# From the start: what opening and setting up meet


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.NO_RESET, DeviceTimeout),
        (Fault.NO_FEATURES_OK, FeaturesRefused),
        (Fault.NO_VECTOR, DeviceError),
        (Fault.ALL_ONES, DeviceGone),
    ],
)
def test_each_fault_is_an_error_of_its_own(fault: Fault, error: type[DeviceError]) -> None:
    with SoftFunction(f"soft:fault={fault.value}") as function, within(1), pytest.raises(error) as caught:
        driver_for(function, deadlines=Deadlines(DEADLINE, DEADLINE)).negotiate(GUEST)
    assert type(caught.value) is error
    assert function.name in str(caught.value)


def test_a_device_that_behaves_again(rig: Callable[[str], FastRig]) -> None:
    one = running(rig, "soft", Fault.NO_FEATURES_OK)
    with pytest.raises(FeaturesRefused):
        one.nic.negotiate(GUEST)
    assert one.nic.status & DeviceStatus.FAILED
    one.function.inject_fault(None)
    one.start()
    assert one.function.diagnose() == ""


def test_a_configuration_that_never_rests(rig: Callable[[str], FastRig]) -> None:
    one = running(rig, "soft", Fault.RESTLESS_CONFIG)
    with pytest.raises(DeviceError, match="changed during 16 readings"):
        one.nic.read_config()


# A reset that never ends


def test_a_device_that_never_leaves_reset_loses_bus_master(rig: Callable[[str], FastRig]) -> None:
    """It may still do DMA, and its memory is about to be unmapped."""
    one = running(rig, "soft:model=plain", Fault.NO_RESET)
    with (
        within(2),
        pytest.raises(
            DeviceTimeout, match=r"the device reset did not end within 0\.1 s \(fault=no_reset; nor does a function"
        ),
    ):
        one.nic.suspend()
    assert not ConfigHeader(one.function.config).command & Command.BUS_MASTER
    assert one.nic.status & DeviceStatus.DRIVER_OK


def test_a_late_device_is_not_waited_for_again(rig: Callable[[str], FastRig]) -> None:
    one = running(rig, "soft", Fault.NO_RESET)
    assert isinstance(one.nic, VirtioPci)
    with pytest.raises(DeviceTimeout):
        one.nic.reset()
    one.nic._reset_device.seconds = 20.0
    start = time.monotonic()
    for again in (one.nic.reset, lambda: one.nic.negotiate(GUEST), one.nic.suspend):
        with pytest.raises(DeviceTimeout, match="has not ended since"):
            again()
    assert time.monotonic() - start < 20
    one.function.inject_fault(None)
    one.start()
    assert ConfigHeader(one.function.config).command & Command.BUS_MASTER


@pytest.mark.parametrize("model", ["soft:model=plain", "soft:model=ifcvf"])
def test_a_wedged_device_is_cured_by_a_function_reset(rig: Callable[[str], FastRig], model: str) -> None:
    one = running(rig, model, Fault.WEDGED)
    with within(2):
        one.nic.suspend()
    assert one.nic.stats()["function_resets"] == 1
    assert one.nic.status == 0
    one.start()
    assert one.nic.status & DeviceStatus.DRIVER_OK
    one.nic.suspend()
    assert one.nic.stats()["function_resets"] == 1


def test_a_wedged_device_can_be_opened() -> None:
    with SoftFunction("soft:fault=wedged") as function:
        function.bar_window(0).write(CommonCfg.device_status.offset, 8, int(DeviceStatus.ACKNOWLEDGE))  # left so
        driver_for(function, deadlines=Deadlines(DEADLINE, DEADLINE)).negotiate(GUEST)


# A queue that never stops


@MODELS
def test_a_queue_that_never_stops(rig: Callable[[str], FastRig], model: str) -> None:
    one = running(rig, model, Fault.STUCK_QUEUE)
    with within(1), pytest.raises(DeviceTimeout, match=STUCK):
        one.nic.stop_queue(0)


def test_stuck_queues_share_one_deadline(rig: Callable[[str], FastRig]) -> None:
    one = running(rig, "soft:queues=2,model=ifcvf", Fault.STUCK_QUEUE)
    with within(1), pytest.raises(DeviceTimeout, match=STUCK):
        one.nic.suspend()
    assert one.nic.status == 0


def test_slow_queues_share_one_deadline(rig: Callable[[str], FastRig], monkeypatch: pytest.MonkeyPatch) -> None:
    one = rig("soft:queues=2,model=ifcvf")
    one.start()
    asked: list[float] = []

    def halt(_function: object, _common: object, _queue: int, _by: object, seconds: float) -> None:
        asked.append(seconds)
        time.sleep(0.06)

    monkeypatch.setattr("vfiodpa.drivers.virtio_pci.halt", halt)
    one.nic.suspend()
    assert len(asked) == 4
    assert asked[0] <= DEADLINE
    assert asked[-1] == 0


def test_a_stuck_queue_is_not_asked_a_second_time(rig: Callable[[str], FastRig]) -> None:
    one = running(rig, "soft:queues=2,model=ifcvf", Fault.STUCK_QUEUE)
    with pytest.raises(DeviceTimeout):
        one.nic.stop_queue(0)
    assert one.nic.suspend() == dict.fromkeys(range(4))
    one.function.inject_fault(None)
    one.start()
    assert one.nic.suspend()[0] == QueueState(0)


# Removal


@pytest.mark.parametrize("model", ["soft", "soft:model=ifcvf", "soft:model=plain"])
@pytest.mark.parametrize("silently", [False, True])
def test_a_removed_device(rig: Callable[[str], FastRig], model: str, silently: bool) -> None:
    one = rig(model)
    one.start()
    one.function.unplug(silently=silently)
    one.nic.kick(0)  # goes nowhere
    steps: list[Callable[[], object]] = [
        lambda: one.nic.status,
        one.nic.read_config,
        lambda: one.nic.stop_queue(0),
        one.nic.suspend,
        lambda: one.nic.negotiate(GUEST),
        one.nic.reset,
        one.nic.close,
    ]
    for step in steps:
        with within(0), pytest.raises(DeviceGone, match="unplugged"):
            step()
