"""A device that misbehaves: each fault ends within its deadline, in its own named error."""

from __future__ import annotations

import logging
import os
import time

import pytest

from tests.drivers.fake_function import BASIC, FakeFunction
from vfiodpa.drivers.device import QueueSetup
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.drivers.waiting import Deadlines, wait_until
from vfiodpa.errors import DeviceError, DeviceGone, DeviceTimeout, FeaturesRefused, Unsupported
from vfiodpa.memory import Iova
from vfiodpa.spec.features import Feature
from vfiodpa.spec.pci import CapId, Command, ConfigHeader
from vfiodpa.spec.virtio_pci import CfgType, DeviceStatus

FAST = Deadlines(reset=0.4, queue_stop=0.4)
RING = QueueSetup(256, Iova(0x1000), Iova(0x2000), Iova(0x3000))


def opened(**options: object) -> tuple[FakeFunction, VirtioPci]:
    function = FakeFunction(**options)
    return function, VirtioPci(function, deadlines=FAST)


def test_a_reset_that_never_ends() -> None:
    start = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"fake0: the device reset did not end within 0.4 s \(the fake was told"):
        opened(never_resets=True)
    assert 0.4 <= time.monotonic() - start < 5


def test_features_ok_that_does_not_stay() -> None:
    function, nic = opened(refuses_features=True)
    with pytest.raises(FeaturesRefused, match=r"NET_MAC, VERSION_1.*it offered.*EVENT_IDX"):
        nic.negotiate(Feature.VERSION_1 | Feature.NET_MAC)
    assert function.values["device_status"] & DeviceStatus.FAILED
    assert nic.negotiated == 0


def test_a_device_that_was_never_there() -> None:
    with pytest.raises(DeviceGone, match="gone"):
        opened(gone_after=0)


@pytest.mark.parametrize("after", range(1, 45, 4))
def test_a_device_that_goes_at_any_time(after: int) -> None:
    with pytest.raises(DeviceGone, match="gone"):
        function, nic = opened(gone_after=after)
        nic.negotiate(Feature.VERSION_1)
        nic.start_queue(0, RING)
        nic.start()
        function.options.gone_after = 0
        _ = nic.status


def test_ones_in_a_register_are_believed_while_the_vendor_id_reads_well() -> None:
    function, nic = opened()
    function.values["device_status"] = 0xFF
    assert nic.status == 0xFF


@pytest.mark.parametrize("kind", [CfgType.COMMON, CfgType.NOTIFY, CfgType.ISR, CfgType.DEVICE])
def test_a_missing_structure_is_named(kind: CfgType) -> None:
    with pytest.raises(DeviceError, match=f"no usable virtio structure {kind.name}"):
        opened(missing=kind)


def test_a_reserved_bar_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        opened(reserved_bar=CfgType.COMMON)
    assert "reserved value" in caplog.text


def test_a_common_structure_that_is_too_short() -> None:
    with pytest.raises(DeviceError, match=r"COMMON.*0x34 bytes.*at least 0x38"):
        opened(common_length=0x34)


def test_a_structure_that_leaves_its_bar() -> None:
    with pytest.raises(DeviceError, match=r"NOTIFY.*leave BAR 0 of 0x1000 bytes"):
        opened(notify_length=0x1000)


def test_a_capability_list_that_loops() -> None:
    with pytest.raises(DeviceError, match="fake0: the capability list loops"):
        opened(loop=True)


def test_a_device_without_modern_structures() -> None:
    function = FakeFunction(device=0x1000)
    for at in range(0x40, 0x100, 0x18):
        if function.space[at] == CapId.VENDOR:
            function.space[at] = CapId.POWER_MANAGEMENT
    with pytest.raises(Unsupported, match=r"virtio 1.0"):
        VirtioPci(function)


def test_another_type_of_device() -> None:
    with pytest.raises(Unsupported, match=r"not a network device.*1af4:1042"):
        opened(device=0x1042)


def test_a_doorbell_outside_the_notify_structure() -> None:
    with pytest.raises(DeviceError, match="doorbell of queue 1 lies at 0x4, outside"):
        opened(notify_length=4)


def test_an_odd_doorbell_distance() -> None:
    with pytest.raises(DeviceError, match="odd"):
        opened(multiplier=3)


def test_no_queue_pair() -> None:
    with pytest.raises(DeviceError, match="no queue pair"):
        opened(num_queues=1)


def test_a_refused_vector() -> None:
    _, nic = opened(refuses_vectors=True)
    with pytest.raises(DeviceError, match=r"refused MSI-X vector 0 for configuration changes.*NO_VECTOR"):
        nic.negotiate(Feature.VERSION_1)


def test_a_refused_queue_vector() -> None:
    function, nic = opened()
    nic.negotiate(Feature.VERSION_1)
    function.options.refuses_vectors = True
    with pytest.raises(DeviceError, match=r"refused MSI-X vector 1 for queue 0.*NO_VECTOR"):
        nic.start_queue(0, RING)
    assert ("queue_enable", 1) not in function.writes()


def test_a_queue_reset_that_never_ends() -> None:
    _, nic = opened(features=int(BASIC | Feature.RING_RESET), queue_reset_ends=False)
    nic.negotiate(Feature.VERSION_1)
    nic.start_queue(0, RING)
    with pytest.raises(DeviceTimeout, match=r"the stop of queue 0 did not end within 0\.4 s"):
        nic.stop_queue(0)


def test_a_queue_that_stays_enabled() -> None:
    _, nic = opened(features=int(BASIC | Feature.RING_RESET), enable_sticks=True)
    nic.negotiate(Feature.VERSION_1)
    nic.start_queue(0, RING)
    with pytest.raises(DeviceError, match="still enabled"):
        nic.stop_queue(0)


def test_a_configuration_that_never_rests() -> None:
    function, nic = opened()
    function.options.generation_moves = 10_000
    with pytest.raises(DeviceError, match="changed during 16 readings"):
        nic.read_config()


def test_a_queue_that_vanished() -> None:
    function, nic = opened()
    nic.negotiate(Feature.VERSION_1)
    function.queues[0].values["queue_size"] = 0
    with pytest.raises(DeviceError, match="no longer there"):
        nic.start_queue(0, RING)


def test_close_takes_interrupts_away_from_a_device_that_does_not_reset() -> None:
    function, nic = opened()
    fd = os.eventfd(0)
    nic.set_config_irq(fd)
    function.options.never_resets = True
    with pytest.raises(DeviceTimeout):
        nic.close()
    assert function.irqs == {0: None}
    os.close(fd)


# The reset ladder


@pytest.mark.parametrize(
    ("function_reset", "cause"),
    [
        ("none", "the fake was told to; no function reset: it cannot be reset on its own"),
        ("fails", "the fake was told to; no function reset: the function reset failed"),
        ("useless", "the fake was told to; nor does a function reset help"),
    ],
)
def test_a_reset_that_nothing_ends(function_reset: str, cause: str) -> None:
    function, nic = opened(function_reset=function_reset)
    function.options.never_resets = True
    start = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"the device reset did not end within 0.4 s") as caught:
        nic.reset()
    assert time.monotonic() - start < 2 * FAST.reset + 3
    assert caught.value.cause == cause
    assert "power the machine off" in caught.value.remedy
    assert not ConfigHeader(function.config).command & Command.BUS_MASTER
    start = time.monotonic()
    with pytest.raises(DeviceTimeout, match="has not ended since"):
        nic.reset()
    assert time.monotonic() - start < FAST.reset / 2
    assert function.function_resets == 1  # once only


def test_a_function_reset_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    function, nic = opened(function_reset="mends")
    config, queue = os.eventfd(0), os.eventfd(0)
    nic.set_config_irq(config)
    nic.set_queue_irq(0, queue)
    function.options.never_resets = True
    nic.reset()
    assert nic.stats()["function_resets"] == 1
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [
        "fake0: the device reset did not end within 0.4 s; a function reset is tried",
        "fake0: the function reset brought it back",
    ]
    # What it forgot is set again: DMA only once the device is to work.
    assert ConfigHeader(function.config).command == Command.MEMORY
    assert sorted(function.irqs) == [0, 1]
    assert None not in function.irqs.values()
    nic.negotiate(Feature.VERSION_1)
    assert ConfigHeader(function.config).command == Command.MEMORY | Command.BUS_MASTER
    nic.reset()
    assert nic.stats()["function_resets"] == 1
    nic.close()
    os.close(config)
    os.close(queue)


def test_a_device_that_goes_during_the_ladder() -> None:
    function, nic = opened(function_reset="useless")
    function.options.never_resets = True
    reset = function.reset

    def goes() -> None:
        reset()
        function.options.gone_after = 0

    function.reset = goes  # type: ignore[method-assign]
    with pytest.raises(DeviceGone):
        nic.reset()


def test_a_late_scheduler_does_not_fail_a_device() -> None:
    """What is done by the time we look counts, however late we look."""
    answers = iter([False, True])

    def slow() -> bool:
        answer = next(answers)
        if answer:
            time.sleep(0.02)
        return answer

    assert wait_until(slow, 0.01, "it", FakeFunction()) >= 0.02


def test_a_process_that_was_not_scheduled_looks_once_more() -> None:
    answers = iter([False, True])

    def stalled_after_the_poll() -> bool:
        answer = next(answers)
        if not answer:
            time.sleep(0.02)
        return answer

    assert wait_until(stalled_after_the_poll, 0.01, "it", FakeFunction()) >= 0.02
