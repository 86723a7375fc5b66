"""A recording played back: the same driver finds the same; another one is told where it diverges."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwtests.device.bring_up import bring_up
from tests.trace.trace_rig import common_of, edited, opened, played, recorded
from vfiodpa._native import lib
from vfiodpa.drivers.registry import driver_for
from vfiodpa.drivers.waiting import Deadlines
from vfiodpa.errors import DeviceError, DriverBreach, FeaturesRefused, IommuError, StateError, Unsupported, UsageError
from vfiodpa.memory import Iova, Mapping
from vfiodpa.pci.function import PciFunction
from vfiodpa.soft.faults import Fault
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.trace.file import record
from vfiodpa.trace.replay import ReplayFunction
from vfiodpa.vdpa.devices import Access, open_function

S = DeviceStatus


@pytest.mark.parametrize("device", ["soft", "soft:queues=4", "soft:model=plain,ioeventfd=off", "soft:model=ifcvf"])
def test_a_bring_up_finds_the_same(trace: Path, device: str) -> None:
    found = bring_up(device, Access(trace=trace))
    assert bring_up(f"replay:{trace}") == found


def test_nothing_is_left_when_the_driver_did_the_same(trace: Path) -> None:
    played(recorded(trace, opened), opened)


def test_a_recording_can_be_recorded(trace: Path, tmp_path: Path) -> None:
    recorded(trace, opened)
    again = tmp_path / "again.trace"
    with record(ReplayFunction.open(trace), again) as function:
        opened(function)
    played(again, opened)


# Divergences


def selects(*queues: int) -> Callable[[PciFunction], object]:
    def use(function: PciFunction) -> None:
        common = common_of(function)
        for queue in queues:
            common.queue_select = queue

    return use


def test_another_value_is_a_divergence(trace: Path) -> None:
    recorded(trace, selects(0, 1))
    with pytest.raises(DeviceError, match="diverges from the recording") as caught:
        played(trace, selects(0, 2))
    assert caught.value.cause == (
        "record 3: write common.queue_select 0x0001; the driver: write common.queue_select 0x0002"
    )


def test_another_register_is_a_divergence(trace: Path) -> None:
    def other(function: PciFunction) -> None:
        common_of(function).config_msix_vector = 0

    recorded(trace, selects(0))
    with pytest.raises(DeviceError, match=r"record 2: .*queue_select .*; the driver: .*config_msix_vector"):
        played(trace, other)


def test_more_than_was_recorded(trace: Path) -> None:
    recorded(trace, selects(0))
    with pytest.raises(DeviceError, match=r"the recording ends after record 2 .*went on: write common.queue_select"):
        played(trace, selects(0, 1))


def test_less_than_was_recorded(trace: Path) -> None:
    recorded(trace, selects(0, 1, 2))
    with pytest.raises(DeviceError, match="2 recorded writes and resets were not done"):
        played(trace, selects(0))


def test_a_register_that_was_not_read(trace: Path) -> None:
    def look(function: PciFunction) -> None:
        assert common_of(function).num_queues

    recorded(trace, selects(1))
    with pytest.raises(DeviceError, match=r"no value of common.num_queues .*after record 1 \(write pci.command"):
        played(trace, look)


def test_a_read_belongs_to_the_write_before_it(trace: Path) -> None:
    """queue_size after another queue_select is another register."""

    def sizes(function: PciFunction) -> list[int]:
        common = common_of(function)
        found = []
        for queue in (0, 9):
            common.queue_select = queue
            found.append(common.queue_size)
        return found

    def late(function: PciFunction) -> None:
        common = common_of(function)
        common.queue_select = 0
        common.queue_select = 9
        assert common.queue_size == 0

    recorded(trace, sizes)
    played(trace, lambda function: sizes(function) == [1024, 0] or pytest.fail("other sizes"))
    played(trace, late)


# Polls


def polling(times: int) -> Callable[[PciFunction], object]:
    def use(function: PciFunction) -> list[int]:
        common = common_of(function)
        common.device_status = S.ACKNOWLEDGE
        return [int(common.device_status) for _ in range(times)]

    return use


@pytest.mark.parametrize("times", [0, 1, 3, 9])
def test_a_poll_may_look_more_or_fewer_times(trace: Path, times: int) -> None:
    def later(lines: list[Any]) -> list[Any]:
        reads = [line for line in lines if line[1] == "r"]
        for line in reads[:2]:
            line[-1] = 0
        return lines

    edited(recorded(trace, polling(3)), later)
    with ReplayFunction.open(trace) as function:
        assert polling(times)(function) == [0, 0, *[1] * 7][:times]


def test_reads_may_come_in_another_order(trace: Path) -> None:
    def forwards(function: PciFunction) -> tuple[int, int]:
        common = common_of(function)
        return int(common.num_queues), int(common.queue_size)

    def backwards(function: PciFunction) -> tuple[int, int]:
        common = common_of(function)
        return (common.queue_size, common.num_queues)[::-1]

    recorded(trace, forwards, "soft:queues=2")
    with ReplayFunction.open(trace) as function:
        assert backwards(function) == (5, 1024)


# Leaving off early


def test_a_driver_may_leave_off_early(trace: Path) -> None:
    def all_of_it(function: PciFunction) -> None:
        device = driver_for(function)
        device.negotiate(device.features)
        device.close()

    recorded(trace, all_of_it)
    played(trace, opened, done=False)
    with pytest.raises(
        DeviceError, match=r"\d+ recorded writes .*record \d+: .*; the driver: write common.device_status"
    ):
        played(trace, opened)


def test_after_leaving_off_it_cannot_go_on(trace: Path) -> None:
    def leave(function: PciFunction) -> None:
        common = common_of(function)
        common.device_status = S(0)
        assert not common.device_status
        common.queue_select = 1

    recorded(trace, selects(0, 1))
    with pytest.raises(DeviceError, match=r"left the recording \(record 2: .*then write common.queue_select"):
        played(trace, leave)


# What else is recorded


def test_errors_come_back_as_they_were(trace: Path) -> None:
    def breach(function: PciFunction) -> None:
        with pytest.raises(DriverBreach):
            common_of(function).device_status = S.DRIVER_OK

    played(recorded(trace, breach), breach)


def test_a_reset_of_the_function_is_a_step(trace: Path) -> None:
    def reset(function: PciFunction) -> None:
        selects(1)(function)
        function.reset()
        selects(2)(function)

    def forgets(function: PciFunction) -> None:
        common = common_of(function)
        common.queue_select = 1
        common.queue_select = 2

    played(recorded(trace, reset), reset)
    with pytest.raises(DeviceError, match=r"record 3: reset; the driver: write common.queue_select"):
        played(trace, forgets)


def test_the_ladder_of_a_wedged_device_plays_back(trace: Path) -> None:
    soft = SoftFunction("soft")

    def wedged(function: PciFunction) -> int:
        device = driver_for(function, deadlines=Deadlines(reset=0.05))
        soft.inject_fault(Fault.WEDGED)
        device.reset()
        return device.stats()["function_resets"]

    with record(soft, trace) as function:
        assert wedged(function) == 1
    soft = SoftFunction("soft")
    with ReplayFunction.open(trace) as replay:
        assert wedged(replay) == 1
        replay.check_done()
    soft.close()


def test_a_device_that_refused_features_refuses_them_again(trace: Path) -> None:
    def refused(function: PciFunction) -> None:
        device = driver_for(function)
        with pytest.raises(FeaturesRefused):
            device.negotiate(device.features)

    played(recorded(trace, refused, "soft:fault=no_features_ok"), refused)


def test_configuration_space_is_what_was_written_and_recorded(trace: Path) -> None:
    with ReplayFunction.open(recorded(trace, selects(0))) as function:
        header = ConfigHeader(function.config)
        assert (header.vendor_id, header.command) == (0x1AF4, 0)  # nobody read them then
        header.command = Command.MEMORY
        assert header.command == Command.MEMORY


def test_parts_are_played_from_their_marks(trace: Path) -> None:
    def parts(*names: str) -> Callable[[PciFunction], object]:
        def use(function: PciFunction) -> None:
            for name in names:
                function.mark(name)
                selects(int(name))(function)

        return use

    recorded(trace, parts("1", "2", "3"))
    played(trace, parts("2"))
    played(trace, parts("3", "1"))
    with pytest.raises(Unsupported, match="no part '4'"):
        played(trace, parts("4"))
    with pytest.raises(DeviceError, match="the recording ends after record 6"):
        played(trace, lambda function: (parts("2")(function), selects(3)(function)))


def test_there_is_no_data_path(trace: Path) -> None:
    with ReplayFunction.open(recorded(trace, opened)) as function, Mapping.create(4096) as memory:
        function.dma.map(Iova(0x1000), memory)
        with pytest.raises(IommuError, match="EEXIST"):
            function.dma.map(Iova(0x1000), memory)
        with pytest.raises(IommuError, match="ranges"):
            function.dma.map(Iova(1 << 60), memory)
        function.dma.unmap(Iova(0x1000), 4096)
        with pytest.raises(IommuError, match="ENOENT"):
            function.dma.unmap(Iova(0x1000), 4096)
        bell = function.doorbell(0, 0x3000, 16, 0)
        assert lib.vdp_doorbell_ring(bell.native) == 0
        with pytest.raises(Unsupported):
            function.doorbell_page(0, 0x3000)
        with pytest.raises(DeviceError, match="vector 3"):
            function.set_irq(3, None)
        with pytest.raises(DeviceError, match="BAR 1"):
            function.bar(1)
        with pytest.raises(IndexError):
            function.bar(0).read(0x4000, 8)


def test_an_eventfd_is_bound_where_one_was(trace: Path) -> None:
    def bind(function: PciFunction) -> None:
        fd = os.eventfd(0)
        common_of(function)
        function.ioeventfd(0, 0x3000, 16, 0, fd)
        os.close(fd)

    recorded(trace, bind)
    with ReplayFunction.open(trace) as function:
        function.ioeventfd(0, 0x3000, 16, 0, 0)
        with pytest.raises(Unsupported, match="not recorded"):
            function.ioeventfd(0, 0x3004, 16, 1, 0)


def test_closed_it_answers_no_more(trace: Path) -> None:
    function = ReplayFunction.open(recorded(trace, opened))
    window = function.config
    function.close()
    function.close()
    with pytest.raises(StateError, match="closed"):
        window.read(0, 16)


def test_a_recording_that_was_cut_off_is_not_played(trace: Path) -> None:
    recorded(trace, opened)
    trace.write_bytes(trace.read_bytes()[:-2])
    with pytest.raises(UsageError, match="cut off"):
        open_function(f"replay:{trace}")


def test_a_recording_shares_no_address_space(trace: Path) -> None:
    recorded(trace, opened)
    with SoftFunction("soft") as soft, pytest.raises(UsageError, match="shares no address space"):
        open_function(f"replay:{trace}", dma=soft.dma)


def test_a_traced_function_shares_its_address_space(trace: Path) -> None:
    with (
        open_function("soft", access=Access(trace=trace)) as first,
        open_function("soft", dma=first.dma) as second,
    ):
        assert second.dma is getattr(first.dma, "inner", None)
