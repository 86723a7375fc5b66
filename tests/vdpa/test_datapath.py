"""The datapath over a device that writes everything down."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from tests.vdpa.fake_device import FakeDevice, FakeFrontend
from vfiodpa._native import ffi, lib
from vfiodpa.drivers.device import QueueState
from vfiodpa.errors import DeviceError, IommuError, StateError, Unsupported, UsageError
from vfiodpa.frontends.frontend import Region, Ring
from vfiodpa.memory import Gpa, Mapping
from vfiodpa.pci.function import IovaRange
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.vdpa.datapath import MOVES, Datapath, State

BASE = 0x10_0000
FEATURES = Feature.VERSION_1 | Feature.NET_MRG_RXBUF


class Bench:
    """A datapath with a guest whose memory, kicks and calls are real."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.datapath = Datapath(device)
        self.frontend = FakeFrontend()
        self.memory = Mapping.create(0x10000)
        self.region = Region(Gpa(BASE), 0x10000, self.memory)
        self.fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(8)]

    def attach(self, features: Feature = FEATURES) -> None:
        self.datapath.attach(self.frontend)
        self.datapath.set_features(features)
        self.datapath.add_region(self.region)

    def place(self, queue: int, base: int = 0) -> None:
        at = BASE + 0x2000 * queue
        self.datapath.set_ring(queue, Ring(64, Gpa(at), Gpa(at + 0x800), Gpa(at + 0x1000)))
        self.datapath.set_base(queue, QueueState(base))
        self.datapath.set_kick(queue, self.fds[2 * queue])
        self.datapath.set_call(queue, self.fds[2 * queue + 1])
        self.datapath.start_queue(queue)
        self.datapath.enable_queue(queue, True)

    def run(self, queues: int = 2, features: Feature = FEATURES) -> None:
        self.attach(features)
        self.datapath.set_driver_ok(True)
        for queue in range(queues):
            self.place(queue)

    def set_used(self, queue: int, index: int) -> None:
        at = self.memory.address + 0x2000 * queue + 0x1000
        lib.vdp_guest_copy_out(ffi.cast("void *", at), struct.pack("<HH", 0, index), 4)

    def clear(self) -> list[str]:
        before = list(self.device.journal)
        self.device.journal.clear()
        return before

    def close(self) -> None:
        self.datapath.close()
        self.device.function.close()
        self.memory.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench(FakeDevice())
    yield one
    one.close()


def test_start_follows_the_order_of_the_specification(bench: Bench) -> None:
    bench.run()
    assert bench.datapath.state is State.RUNNING
    assert bench.clear() == [
        "map 0x100000+0x10000",
        "negotiate",
        "config irq on",
        "start 0",
        "irq 0 on",
        "start 1",
        "irq 1 on",
        "driver_ok",
        "doorbell 0 on",
        "kick 0",
        "doorbell 1 on",
        "kick 1",
    ]


def test_each_guest_call_is_signalled_once_after_start(bench: Bench) -> None:
    bench.run()
    assert [os.eventfd_read(bench.fds[n]) for n in (1, 3)] == [1, 1]


def test_one_complete_pair_starts_the_device_and_half_a_pair_does_not(bench: Bench) -> None:
    bench.attach()
    bench.datapath.set_driver_ok(True)
    bench.place(0)
    assert bench.datapath.running == frozenset()
    bench.place(1)
    assert bench.datapath.running == {0, 1}


def test_without_driver_ok_nothing_starts(bench: Bench) -> None:
    bench.attach()
    bench.place(0)
    bench.place(1)
    assert bench.datapath.running == frozenset()
    bench.datapath.set_driver_ok(True)
    assert bench.datapath.running == {0, 1}


def test_teardown_keeps_its_order(bench: Bench) -> None:
    bench.run()
    bench.clear()
    bench.datapath.detach()
    assert bench.clear() == [
        "doorbell 0 off",
        "doorbell 1 off",
        "irq 0 off",
        "irq 1 off",
        "config irq off",
        "suspend",
        "unmap 0x100000+0x10000",
    ]
    assert bench.datapath.state is State.IDLE


def test_the_next_guest_is_served_after_a_detach(bench: Bench) -> None:
    for _ in range(3):
        bench.run()
        bench.datapath.detach()
    assert bench.device.journal.count("driver_ok") == 3


def test_stopping_one_queue_leaves_the_others_and_returns_the_devices_position(bench: Bench) -> None:
    bench.device.positions[1] = QueueState(77)
    bench.run()
    bench.clear()
    assert bench.datapath.stop_queue(1) == QueueState(77)
    assert bench.clear() == ["doorbell 1 off", "irq 1 off", "stop 1"]
    assert bench.datapath.running == {0}


def test_a_device_that_tells_no_position_stands_at_the_used_index(bench: Bench) -> None:
    bench.run()
    bench.set_used(1, 4711)
    assert bench.datapath.stop_queue(1) == QueueState(4711)


def test_position_zero_from_the_device_is_believed(bench: Bench) -> None:
    bench.run()
    bench.device.positions[1] = QueueState(0)
    bench.set_used(1, 5)
    assert bench.datapath.stop_queue(1) == QueueState(0)


def test_a_truncated_guest_keeps_the_base_it_gave(bench: Bench) -> None:
    bench.attach()
    bench.datapath.set_driver_ok(True)
    bench.place(0, base=3)
    bench.place(1, base=4)
    os.ftruncate(bench.memory.fd, 0)
    assert bench.datapath.stop_queue(1) == QueueState(4)


def test_a_stopped_queue_continues_where_it_stood(bench: Bench) -> None:
    bench.device.positions[1] = QueueState(9)
    bench.run()
    bench.datapath.enable_queue(1, False)
    bench.datapath.enable_queue(1, True)
    assert bench.device.started[1].state == QueueState(9)


def test_without_queue_reset_the_whole_device_stops() -> None:
    bench = Bench(FakeDevice(stops_queues=False))
    bench.run(queues=4)
    bench.clear()
    bench.datapath.stop_queue(0)
    assert "suspend" in bench.clear()
    assert bench.datapath.running == frozenset()
    bench.close()


def test_without_queue_reset_the_rest_starts_again_when_a_later_pair_stops() -> None:
    bench = Bench(FakeDevice(stops_queues=False))
    bench.run(queues=4)
    bench.device.positions = {0: QueueState(5), 1: QueueState(6)}
    bench.datapath.stop_queue(3)
    assert bench.datapath.running == {0, 1, 2}
    assert bench.device.started[0].state == QueueState(5)
    bench.close()


def test_a_device_that_cannot_restore_a_position_fails_until_the_guest_resets() -> None:
    bench = Bench(FakeDevice(restores=False))
    bench.attach()
    bench.datapath.set_driver_ok(True)
    bench.place(0)
    bench.place(1, base=5)
    assert bench.datapath.state is State.FAILED
    assert "cannot start at 5" in str(bench.frontend.told)
    bench.datapath.reset()
    bench.datapath.set_driver_ok(True)
    bench.place(0)
    bench.place(1)
    assert bench.datapath.running == {0, 1}
    bench.close()


def test_needs_reset_stops_the_queues_and_tells_the_front_end(bench: Bench) -> None:
    bench.run()
    bench.device.now = DeviceStatus.NEEDS_RESET
    (fd, callback), *_ = bench.datapath.events()
    os.eventfd_write(fd, 1)
    callback()
    assert bench.datapath.state is State.FAILED
    assert [told[0] for told in bench.frontend.told] == ["queue", "queue", "device"]


def test_a_configuration_change_is_passed_on(bench: Bench) -> None:
    bench.run()
    (fd, callback), *_ = bench.datapath.events()
    os.eventfd_write(fd, 1)
    callback()
    assert bench.frontend.told == [("config",)]
    assert bench.datapath.state is State.RUNNING


@pytest.mark.parametrize("step", ["negotiate", "start 1", "driver_ok", "kick 1"])
def test_a_failing_start_leaves_nothing_behind(bench: Bench, step: str) -> None:
    bench.device.fail_on = step
    bench.run()
    assert bench.datapath.state is State.FAILED
    assert bench.datapath.running == frozenset()
    assert bench.device.journal[-1] == "suspend"


def test_a_queue_that_does_not_stop_fails_the_device(bench: Bench) -> None:
    bench.run()
    bench.device.fail_on = "stop 0"
    bench.datapath.stop_queue(0)
    assert bench.datapath.state is State.FAILED


def test_detach_makes_every_step_even_when_the_device_hangs(bench: Bench) -> None:
    bench.run()
    bench.device.fail_on = "suspend"
    bench.datapath.detach()
    assert bench.datapath.state is State.IDLE
    assert bench.device.journal[-1] == "unmap 0x100000+0x10000"


def test_an_exchanged_call_is_signalled_so_that_nothing_is_lost(bench: Bench) -> None:
    bench.run()
    bench.datapath.set_call(0, bench.fds[7])
    assert bench.device.irqs[0] == bench.fds[7]
    assert os.eventfd_read(bench.fds[7]) == 1


def test_memory_is_added_while_queues_run(bench: Bench) -> None:
    bench.run()
    bench.clear()
    with Mapping.create(0x4000) as more:
        region = Region(Gpa(0x8000_0000), 0x4000, more)
        bench.datapath.add_region(region)
        bench.datapath.remove_region(region)
    assert bench.clear() == ["map 0x80000000+0x4000", "unmap 0x80000000+0x4000"]
    assert bench.datapath.running == {0, 1}


def test_removing_the_memory_of_a_ring_stops_its_queue_first(bench: Bench) -> None:
    bench.run()
    bench.clear()
    bench.datapath.remove_region(bench.region)
    journal = bench.clear()
    assert journal.index("stop 0") < journal.index("unmap 0x100000+0x10000")
    assert bench.datapath.running == frozenset()


def test_memory_over_a_hole_is_refused_with_the_hole(bench: Bench) -> None:
    bench.device.function.domain.ranges = (IovaRange(0, 0xFEDF_FFFF), IovaRange(0xFEF0_0000, (1 << 39) - 1))
    with pytest.raises(IommuError, match="leaves out 0xfee00000-0xfeefffff"):
        bench.datapath.check_regions([Region(Gpa(0xFED0_0000), 0x20_0000, bench.memory)])
    with pytest.raises(IommuError, match="everything from 0x8000000000"):
        bench.datapath.check_regions([Region(Gpa((1 << 39) - 0x1000), 0x2000, bench.memory)])


def test_what_was_not_offered_is_refused(bench: Bench) -> None:
    bench.datapath.attach(bench.frontend)
    with pytest.raises(UsageError, match="NET_MQ"):
        bench.datapath.set_features(FEATURES | Feature.NET_MQ)
    with pytest.raises(DeviceError, match="256 at most"):
        bench.datapath.set_ring(0, Ring(512, Gpa(BASE), Gpa(BASE), Gpa(BASE)))
    with pytest.raises(UsageError, match="there are 4"):
        bench.datapath.set_base(4, QueueState())
    with pytest.raises(Unsupported, match="MTU 9000"):
        bench.datapath.set_mtu(9000)


def test_features_cannot_change_while_queues_run(bench: Bench) -> None:
    bench.run()
    with pytest.raises(StateError):
        bench.datapath.set_features(Feature.VERSION_1)


def test_a_second_guest_is_refused(bench: Bench) -> None:
    bench.attach()
    with pytest.raises(StateError):
        bench.datapath.attach(FakeFrontend())


def test_every_state_can_be_left_but_closed() -> None:
    assert [state for state in State if not MOVES[state]] == [State.CLOSED]


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> Feature:
    """Features of a device that offers packed rings and keeps no positions."""
    monkeypatch.setattr(FakeDevice, "features", FEATURES | Feature.RING_PACKED)
    return FEATURES | Feature.RING_PACKED


def test_a_packed_queue_that_was_never_used_stands_at_the_first_position(bench: Bench, packed: Feature) -> None:
    bench.datapath.set_features(packed)
    assert bench.datapath.stop_queue(1) == QueueState.first(packed)


def test_a_packed_queue_is_lost_where_the_device_keeps_no_positions(bench: Bench, packed: Feature) -> None:
    bench.run(features=packed)
    assert bench.datapath.stop_queue(1) == QueueState.lost() != QueueState.first(packed)
