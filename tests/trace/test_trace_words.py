"""Records in words: what a register is called, and what its value means."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trace.trace_rig import common_of, lines, opened, recorded
from vfiodpa.pci.function import PciFunction
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.vhost_user import U64, Header, MemRegion, MemTableHeader, Request, VringArea, VringState
from vfiodpa.trace.file import Subject, load
from vfiodpa.trace.lines import Row, counted, rows, select
from vfiodpa.trace.messages import describe
from vfiodpa.trace.names import Names
from vfiodpa.trace.records import (
    Access,
    Bind,
    Counters,
    Handle,
    Interrupt,
    Map,
    Mark,
    Message,
    Page,
    Record,
    Unmap,
    Vector,
)


@pytest.fixture(scope="module")
def subject() -> Subject:
    with SoftFunction("soft") as function:
        return Subject.of(function)


def words(subject: Subject, *records: Record) -> list[str]:
    names = Names(subject)
    return [" ".join(str(names.line(one)).split()) for one in records]


def read(space: str, offset: int, width: int, value: int) -> Access:
    return Access(space, offset, width, value, write=False)


def write(space: str, offset: int, width: int, value: int) -> Access:
    return Access(space, offset, width, value, write=True)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (write("config", 4, 16, 6), "write pci.command 0x0006 MEMORY BUS_MASTER"),
        (read("config", 0x5C + 8, 8, 0), "read notify_cap.offset[0] 0x00"),
        (read("config", 0x5C + 8, 32, 0x3000), "read notify_cap.offset 0x00003000"),
        (read("config", 0x40, 8, 0x11), "read msix_cap.cap_id 0x11"),
        (read("config", 0xF0, 8, 0), "read config+0xf0 0x00"),
        (write("bar0", 0x14, 8, 3), "write common.device_status 0x03 ACKNOWLEDGE DRIVER"),
        (write("bar0", 0x14, 8, 0), "write common.device_status 0x00 none"),
        (write("bar0", 0x10, 16, 0xFFFF), "write common.config_msix_vector 0xffff NO_VECTOR"),
        (write("bar0", 0x24, 32, 1), "write common.queue_desc[high] 0x00000001 queue 0"),
        (read("bar0", 0x14, 32, 0), "read common.device_status (32 bits) 0x00000000 none"),
        (read("bar0", 0x05, 8, 0), "read common.device_feature (8 bits at +1) 0x00"),
        (read("bar0", 0x1000, 8, 1), "read isr.isr 0x01 QUEUE"),
        (read("bar0", 0x2001, 8, 7), "read net.mac[1] 0x07"),
        (write("bar0", 0x3004, 16, 1), "write notify+0x4 0x0001 queue 1"),
        (write("bar0", 0x3000, 32, 0x8005_0001), "write notify+0x0 0x80050001 queue 1, next 5, wrap 1"),
        (read("bar2", 0x104, 16, 9), "read vendor.ring_state[1] 0x0009"),
        (read("bar5", 4, 32, 9), "read bar5+0x4 0x00000009"),
        (Vector(2, True), "irq vector 2 attached"),
        (Vector(2, False, error="DeviceError: no"), "irq vector 2 detached (DeviceError: no)"),
        (Interrupt(1, 3), "interrupt vector 1 3 times"),
        (Bind(0, 0x3004, 16, 1, True), "ioeventfd notify+0x4 0x1: bound"),
        (Handle(0, 0x3004, 16, 1), "doorbell notify+0x4 0x1: given to C threads"),
        (Page(0, 0x3000), "page notify+0x0 given to a guest"),
        (Map(0x1000, 0x2000, 3), "map 0x1000-0x2fff RW"),
        (Unmap(0x1000, 0x2000), "unmap 0x1000-0x2fff"),
        (Mark("P-COM-14"), "mark P-COM-14"),
        (Counters({"a": {"b": 1, "c": 0}, "d": [{"e": 2}]}), "counters a.b=1 d[0].e=2"),
    ],
    ids=str,
)
def test_a_record_in_words(subject: Subject, record: Record, expected: str) -> None:
    assert words(subject, record) == [expected]


def test_feature_words_and_queues_are_those_that_were_selected(subject: Subject) -> None:
    found = words(
        subject,
        write("bar0", 0x00, 32, 1),
        read("bar0", 0x04, 32, 1),
        write("bar0", 0x08, 32, 0),
        write("bar0", 0x0C, 32, 1 << 5),
        write("bar0", 0x16, 16, 7),
        read("bar0", 0x18, 16, 64),
    )
    assert [found[at].split()[3:] for at in (1, 3, 5)] == [["VERSION_1"], ["NET_MAC"], ["queue", "7"]]


def test_a_function_without_capabilities_still_has_its_header(subject: Subject) -> None:
    broken = replace(subject, config=bytes([*subject.config[:0x34], 0x20, *subject.config[0x35:]]))
    assert words(broken, read("config", 0, 16, 0x1AF4), read("bar0", 0x14, 8, 0)) == [
        "read pci.vendor_id 0x1af4",
        "read bar0+0x14 0x00",
    ]
    assert words(replace(subject, config=b""), read("config", 0, 16, 1)) == ["read config+0x0 0x0001"]


# vhost-user


def message(way: str, request: int, payload: bytes = b"", fds: int = 0, flags: int = 1) -> Message:
    return Message(way, (Header(request=request, flags=flags, length=len(payload)).pack() + payload).hex(), fds)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (message("<-", Request.SET_OWNER), ("<- SET_OWNER", "")),
        (message("<-", Request.SET_FEATURES, U64(value=1 << 32).pack()), ("<- SET_FEATURES", "VERSION_1")),
        (message("->", Request.GET_FEATURES, U64(value=3).pack()), ("-> GET_FEATURES", "NET_CSUM NET_GUEST_CSUM")),
        (message("<-", Request.SET_STATUS, U64(value=3).pack(), flags=9), (
            "<- SET_STATUS", "ACKNOWLEDGE DRIVER (to be acknowledged)")),
        (message("->", Request.SET_STATUS, U64(value=0).pack()), ("-> SET_STATUS", "acknowledged")),
        (message("->", Request.SET_STATUS, U64(value=1).pack()), ("-> SET_STATUS", "refused")),
        (message("->", Request.GET_PROTOCOL_FEATURES, U64(value=9).pack()), (
            "-> GET_PROTOCOL_FEATURES", "MQ REPLY_ACK")),
        (message("<-", Request.SET_VRING_NUM, VringState(index=1, num=256).pack()), (
            "<- SET_VRING_NUM", "index=0x1 num=0x100")),
        (message("<-", Request.SET_VRING_KICK, U64(value=1).pack(), fds=1), ("<- SET_VRING_KICK", "value=0x1 +1 fd")),
        (message("->", Request.GET_QUEUE_NUM, U64(value=4).pack()), ("-> GET_QUEUE_NUM", "value=0x4")),
        (message("=>", 3, VringArea(index=1, length=4096).pack(), fds=1), (
            "=> VRING_HOST_NOTIFIER_MSG", "index=0x1 length=0x1000 offset=0x0 +1 fd")),
        (message("<=", 3, U64(value=0).pack()), ("<= VRING_HOST_NOTIFIER_MSG", "value=0x0")),
        (message("<-", 99, b"\1\2"), ("<- request 99", "0102")),
        (message("<-", Request.SET_VRING_NUM, b"\1"), ("<- SET_VRING_NUM", "01")),
        (Message("<-", "0102", 0), ("<- a part of a header", "0102")),
    ],
    ids=lambda one: one[0] if isinstance(one, tuple) else "",
)  # fmt: skip
def test_a_message_in_words(made: Message, expected: tuple[str, str]) -> None:
    assert describe(made) == expected


def test_the_regions_of_a_memory_table() -> None:
    table = MemTableHeader(count=2).pack() + MemRegion(gpa=0x1000, length=0x2000).pack() * 2
    assert describe(message("<-", Request.SET_MEM_TABLE, table, fds=2))[1].startswith(
        "2 regions: gpa=0x1000 length=0x2000"
    )


# Lines


def shown(path: Path, **filters: list[str]) -> list[Row]:
    recording = load(path)
    return list(select(rows(Names(recording.subject), counted(recording.records)), **filters))


def test_a_capability_that_is_read_byte_by_byte_is_one_line(trace: Path) -> None:
    found = [row.words.split() for row in shown(recorded(trace, opened), registers=["notify_cap"])]
    assert found[1][:5] == ["read", "notify_cap", "cap_id=0x9", "cap_next=0x70", "cap_len=0x14"]
    assert "notify_off_multiplier=0x4" in found[-1]


def test_a_poll_is_one_line(trace: Path) -> None:
    def poll(function: PciFunction) -> None:
        common = common_of(function)
        for _ in range(5):
            assert common.device_status == 0

    assert [row.times for row in shown(recorded(trace, poll), kinds=["read"])] == [5]


def test_writes_are_never_folded(trace: Path) -> None:
    def twice(function: PciFunction) -> None:
        common = common_of(function)
        common.queue_select = common.queue_select = 1

    assert [row.line.name for row in shown(recorded(trace, twice), kinds=["write"])][1:] == ["common.queue_select"] * 2


@pytest.mark.parametrize(
    ("pattern", "some"), [("common.queue_*", 6), ("queue_select", 2), ("mac", 0), ("ring_state", 0), ("nothing", 0)]
)
def test_filters_by_register(trace: Path, pattern: str, some: int) -> None:
    assert len(shown(recorded(trace, opened), registers=[pattern])) == some


def test_the_numbers_are_those_of_the_records(trace: Path) -> None:
    found = shown(recorded(trace, opened), registers=["queue_select"])
    assert [load(trace).records[row.number - 1] for row in found] == [row.line.record for row in found]


def test_json_has_the_record_and_its_meaning(trace: Path) -> None:
    found = lines(recorded(trace, opened))[0].to_json()
    assert found == {
        "kind": "read",
        "name": "pci.vendor_id",
        "meaning": "0x1af4",
        "at": found["at"],
        "space": "config",
        "offset": 0,
        "width": 16,
        "value": 0x1AF4,
    }


def test_what_is_no_register_has_a_line_too(trace: Path) -> None:
    def use(function: PciFunction) -> None:
        fd = os.eventfd(0)
        function.set_irq(1, fd)
        os.close(fd)

    assert [row.line.what for row in shown(recorded(trace, use))] == ["irq"]
