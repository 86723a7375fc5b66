"""``regs dump`` on the software NIC."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vfiodpa.cli.main import main

Capture = pytest.CaptureFixture[str]


def dump(capsys: Capture, *words: str, device: str = "soft") -> dict[str, Any]:
    assert main(["regs", "-j", "dump", device, *words]) == 0
    blocks: dict[str, Any] = json.loads(capsys.readouterr().out)["blocks"]
    return blocks


def test_values_and_flags_by_name(capsys: Capture) -> None:
    blocks = dump(capsys)
    assert {"pci", "common", "isr", "net"} <= set(blocks)
    command = blocks["pci"]["registers"]["command"]
    assert command == {"offset": 4, "width": 16, "mode": "rw", "value": 2, "flags": ["MEMORY"]}
    assert blocks["pci"]["registers"]["class_code"]["value"] == [0, 0, 2]


def test_a_register_that_reading_clears_is_not_read(capsys: Capture) -> None:
    assert dump(capsys)["isr"]["registers"] == {}
    assert main(["regs", "dump", "soft", "--block", "isr"]) == 0
    assert "reading clears it" in capsys.readouterr().out


def test_the_device_is_left_as_it_was(capsys: Capture) -> None:
    common = dump(capsys)["common"]["registers"]
    assert common["device_status"]["value"] == 0
    assert common["device_feature_select"]["value"] == 0  # used to learn which fields exist


def test_only_the_blocks_asked_for(capsys: Capture) -> None:
    assert list(dump(capsys, "--block", "common")) == ["common"]
    assert main(["regs", "dump", "soft", "--block", "commn"]) == 2
    assert "there are pci, common" in capsys.readouterr().err


def test_nothing_is_written_without_yes(capsys: Capture) -> None:
    assert main(["regs", "dump", "soft", "--write", "common.queue_select=1"]) == 2
    assert "nothing was written" in capsys.readouterr().err


def test_writes_come_before_the_dump(capsys: Capture) -> None:
    blocks = dump(capsys, "--write", "common.queue_select=1", "--yes")
    assert blocks["common"]["registers"]["queue_select"]["value"] == 1
    assert blocks["common"]["registers"]["queue_notify_off"]["value"] == 1


def test_flags_are_written_by_name(capsys: Capture) -> None:
    blocks = dump(capsys, "--write", "common.device_status=ACKNOWLEDGE|driver", "--yes")
    assert blocks["common"]["registers"]["device_status"]["flags"] == ["ACKNOWLEDGE", "DRIVER"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("queue_select=1", "says not what to write"),
        ("common.queue_selct=1", "has no register"),
        ("commn.queue_select=1", "no register block"),
        ("common.num_queues=1", "read-only"),
        ("isr.isr=1", "read-only"),
        ("common.queue_select=0x10000", "exceeds 16 bits"),
        ("common.queue_select=-1", "exceeds 16 bits"),
        ("common.queue_select=one", "'one' is no number)"),
        ("common.device_status=ACK", "'ACK' is no number, nor names of ACKNOWLEDGE, "),
        ("common.queue_select[0]=1", "single register"),
        ("pci.bars=1", "6 elements"),
        ("pci.bars[6]=1", "6 elements"),
    ],
)
def test_writes_that_make_no_sense(capsys: Capture, text: str, why: str) -> None:
    assert main(["regs", "dump", "soft", "--yes", "--write", text]) == 2
    assert why in capsys.readouterr().err


def test_one_bad_write_stops_the_good_ones(capsys: Capture) -> None:
    words = ["--yes", "--write", "common.queue_select=1", "--write", "common.num_queues=1"]
    assert main(["regs", "dump", "soft", *words]) == 2
    assert capsys.readouterr().out == ""
