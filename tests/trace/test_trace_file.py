"""A recording as a file: what is in it, and files that are none."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trace.trace_rig import common_of, opened, recorded
from vfiodpa.errors import UsageError
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.memory import Iova
from vfiodpa.pci.function import PciFunction
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.virtio_pci import CommonCfg, IsrStatus
from vfiodpa.trace.file import Recorder, Subject, image, load, record
from vfiodpa.trace.records import KINDS, Access, Counters, Record, parse


def kinds(path: Path) -> list[str]:
    return [one.word for one in load(path).records]


def test_it_says_who_was_recorded(trace: Path) -> None:
    with record(SoftFunction("soft:queues=2"), trace) as function:
        name, config = function.name, image(function.config)
    subject = load(trace).subject
    assert (subject.device, subject.config, subject.vectors, subject.iommu) == (name, config, 5, "software")
    assert subject.bars == {0: 0x4000, 2: 0x1000, 4: 0x2000}


def test_a_subject_is_as_it_was_after_json() -> None:
    with SoftFunction("soft:msi_hole=on") as function:
        subject = Subject.of(function)
    assert Subject.from_json(json.loads(json.dumps(subject.to_json()))) == subject


def test_every_access_is_there_in_its_order(trace: Path) -> None:
    def use(function: PciFunction) -> None:
        common = common_of(function)
        common.queue_select = 1
        assert common.queue_size

    recorded(trace, use)
    found = [one.to_json()[1:] for one in load(trace).records[:-1]]
    assert found == [["w", "config", 4, 16, 2], ["w", "bar0", 0x16, 16, 1], ["r", "bar0", 0x18, 16, 1024]]


def test_times_rise_from_the_beginning(trace: Path) -> None:
    times = [one.at for one in load(recorded(trace, opened)).records]
    assert times == sorted(times) and 0 <= times[0] < 10**9


def test_what_is_no_register_is_recorded_too(trace: Path) -> None:
    def use(function: PciFunction) -> None:
        common_of(function)
        fd = os.eventfd(0)
        function.set_irq(0, fd)
        function.ioeventfd(0, 0x3000, 16, 0, fd)
        function.doorbell(0, 0x3004, 16, 1)
        with GuestMemory(1 << 20) as memory:
            function.dma.map(Iova(0x1000), memory.regions[0].mapping)
            function.dma.unmap(Iova(0x1000), 1 << 20)
        function.reset()
        function.mark("part two")
        os.close(fd)

    common: list[str] = ["irq", "ioeventfd", "doorbell", "map", "unmap", "reset", "mark", "end"]
    recorded(trace, use)
    assert kinds(trace) == ["w", *common]


def test_a_call_that_failed_says_how(trace: Path) -> None:
    def use(function: PciFunction) -> None:
        with pytest.raises(Exception, match="does not exist"):
            function.set_irq(99, 0)
        with pytest.raises(Exception, match=r"DeviceStatus|device_status") as caught:
            common_of(function).device_status = 0xFF
        assert caught.value

    found = load(recorded(trace, use)).records
    assert found[0].error == "DeviceError: vector 99 does not exist"
    assert (found[2].word, found[3].word) == ("w", "failed")
    assert found[3].error.startswith("DriverBreach: ")


def test_reading_the_image_leaves_the_window_into_a_bar_alone() -> None:
    """A read of pci_cfg_data reads what the capability points to (4.1.4.9): here the ISR, which that clears."""
    cap = 0x90
    with SoftFunction("soft") as function:
        function.config.write(cap + 8, 32, 0x1000)
        function.config.write(cap + 12, 32, 1)
        function.device.isr.add(IsrStatus.QUEUE)
        assert image(function.config)[cap + 16 : cap + 20] == bytes(4)
        assert function.device.isr.pending == IsrStatus.QUEUE
        assert function.config.read(cap + 16, 8) == IsrStatus.QUEUE, "this read did clear it"


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(0, 2**64),
    "bool": st.booleans(),
    "str": st.text(max_size=5),
    "dict[str, Any]": st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
}


@given(st.data(), st.sampled_from(sorted(KINDS)), st.integers(0, 2**63), st.text(max_size=4))
def test_a_record_is_as_it_was_after_json(data: st.DataObject, word: str, at: int, error: str) -> None:
    kind = KINDS[word]
    own = [one for one in fields(kind) if one.name not in ("at", "error")]
    values = {one.name: data.draw(VALUES[str(one.type)]) for one in own}
    if kind is Access:
        values["write"] = word == "w"
    made: Record = kind(at=at, error=error, **values)
    assert parse(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    "line", [[], [1], ["x", "r"], [1, "y"], [1, "r", "bar0"], [1, "irq", "0", True], [1, "end", True]]
)
def test_what_is_no_record_is_refused(line: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"is no|fields"):
        parse(line)


# Files that are none, or not whole


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "its first line is no JSON"),
        ("root:x:0:0\n", "its first line is no JSON"),
        ("[1]\n", "schema None"),
        ('{"schema": "vfiodpa.list/1"}\n', "schema 'vfiodpa.list/1', expected 'vfiodpa.trace/1'"),
        ('{"schema": "vfiodpa.trace/2"}\n', "schema 'vfiodpa.trace/2'"),
        ('{"schema": "vfiodpa.trace/1"}\n', "line 1: KeyError"),
    ],
)
def test_a_foreign_file(trace: Path, text: str, cause: str) -> None:
    trace.write_text(text)
    with pytest.raises(UsageError, match=r"not a recording|damaged") as caught:
        load(trace)
    assert cause in caught.value.cause


def test_no_file(trace: Path) -> None:
    with pytest.raises(UsageError, match="ENOENT"):
        load(trace)


def test_a_damaged_line_is_named(trace: Path) -> None:
    recorded(trace, opened)
    lines = trace.read_text().splitlines()
    lines[6] = lines[6].replace('"r"', '"q"').replace('"w"', '"q"')
    trace.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=r"damaged recording .*line 7: "):
        load(trace)


@pytest.mark.parametrize(("bytes_cut", "why"), [(3, "its last line (.*) has no end"), (None, "without the line")])
def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes(trace: Path, bytes_cut: int | None, why: str) -> None:
    data = recorded(trace, opened).read_bytes()
    trace.write_bytes(data[:-bytes_cut] if bytes_cut else data[: data.rindex(b"\n", 0, -1) + 1])
    found = load(trace)
    assert len(found.records) > 100
    with pytest.raises(UsageError, match=why):
        found.whole()


def test_of_a_killed_process_all_is_there_but_the_end(trace: Path) -> None:
    pid = os.fork()
    if pid == 0:
        function = record(SoftFunction("soft"), trace)
        common_of(function).queue_select = 1
        os._exit(9)
    os.waitpid(pid, 0)
    assert [one.word for one in load(trace).records] == ["w", "w"]
    assert load(trace).cut


def test_a_full_disk_ends_the_recording_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with SoftFunction("soft") as function:
        recorder = Recorder(Path("/dev/full"), Subject.of(function))
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                recorder(Counters({}))
        recorder.close()
    assert caplog.text.count("the recording ends here: ENOSPC") == 1


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with SoftFunction("soft") as function, pytest.raises(UsageError, match=errno.errorcode[errno.ENOENT]):
        record(function, tmp_path / "no/such/directory")


def test_a_width_is_recorded_as_it_was_asked_for(trace: Path) -> None:
    recorded(trace, lambda function: function.config.read(CommonCfg.size, 8))
    first = load(trace).records[0]
    assert first == Access("config", CommonCfg.size, 8, 0x11, write=False, at=first.at)
