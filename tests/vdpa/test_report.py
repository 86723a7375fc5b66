"""Counters as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vfiodpa
from tests.vdpa.fake_device import FakeDevice
from vfiodpa.errors import LimitError
from vfiodpa.vdpa.report import report, write_report


def test_a_report_has_driver_workers_and_queues(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with vfiodpa.open("soft:queues=2") as nic:
        write_report(nic.device, path)
        body = json.loads(path.read_text())
        assert body["schema"] == "vfiodpa.report/1"
        assert body["device"] == nic.name
        assert body["driver"] == dict(nic.device.stats())
        assert [(queue["queue"], queue["kind"]) for queue in body["queues"]] == [
            (0, "rx"), (1, "tx"), (2, "rx"), (3, "tx"),
        ]  # fmt: skip
        assert len(body["workers"]) == 1
        assert body["tsc_hz"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_function_that_counts_nothing_has_a_report_too() -> None:
    device = FakeDevice()
    assert report(device) == {"schema": "vfiodpa.report/1", "device": "fake0", "driver": dict(device.stats())}
    device.function.close()


def test_a_new_report_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with vfiodpa.open("soft") as nic:
        write_report(nic.device, path)
    assert json.loads(path.read_text())


@pytest.mark.parametrize(("where", "errno"), [("none/report.json", "ENOENT"), ("", "EISDIR")])
def test_where_nothing_can_be_written_is_an_error(tmp_path: Path, where: str, errno: str) -> None:
    directory = tmp_path / "here"
    directory.mkdir()
    with vfiodpa.open("soft") as nic, pytest.raises(LimitError, match=f"cannot write the report .*{errno}"):
        write_report(nic.device, directory / where)
    assert [p.name for p in tmp_path.iterdir()] == ["here"]
