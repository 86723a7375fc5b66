"""``--trace`` and ``trace show``; ``replay:FILE`` as a DEVICE."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.cli_rig import Cli, running
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.trace.file import load


@pytest.fixture
def trace(cli: Cli, tmp_path: Path) -> Path:
    """Of ``show -r -j``: JSON has all elements of an array."""
    path = tmp_path / "nic.trace"
    assert cli("show", "soft:mac=52:54:00:00:00:09", "-r", "-j", "--trace", str(path)).code == 0
    return path


def test_show_is_recorded_and_shown_by_name(cli: Cli, trace: Path) -> None:
    ran = cli("trace", "show", str(trace))
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0][:1] == ["device"] and lines[0][1].startswith("soft")
    assert ["write", "common.device_status", "0x01", "ACKNOWLEDGE"] in [line[2:] for line in lines]


def test_filters(cli: Cli, trace: Path) -> None:
    ran = cli("trace", "show", str(trace), "-r", "device_status", "-k", "write")
    rows = [line.split() for line in ran.out.splitlines() if line.strip()[:1].isdigit()]
    assert len(rows) > 3
    assert {tuple(row[2:4]) for row in rows} == {("write", "common.device_status")}


def test_json(cli: Cli, trace: Path) -> None:
    body = cli("trace", "show", str(trace), "-j", "-r", "mac*").json
    assert (body["schema"], body["cut"]) == ("vfiodpa.trace/1", "")
    first = body["records"][0]
    assert (first["kind"], first["name"], first["value"]) == ("read", "net.mac[0]", 0x52)


def test_of_a_recording_that_was_cut_off_what_there_is_is_shown(cli: Cli, trace: Path) -> None:
    trace.write_bytes(trace.read_bytes()[:-5])
    ran = cli("trace", "show", str(trace))
    assert ran.code == 2
    assert "pci.vendor_id" in ran.out
    assert "the recording is cut off" in ran.err


def test_a_foreign_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_text("[]\n")
    ran = cli("trace", "show", str(path))
    assert (ran.code, ran.out) == (2, "")
    assert "not a recording of vfiodpa" in ran.err


def test_show_of_a_recording_shows_the_same(cli: Cli, trace: Path) -> None:
    ran = cli("show", "-r", "-j", f"replay:{trace}")
    assert ran.code == 0, ran.err
    assert ran.json["config"]["mac"] == "52:54:00:00:00:09"
    assert ran.json["registers"]["common"]["num_queues"] == 3


def test_regs_of_a_recording(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "regs.trace"
    assert cli("regs", "dump", "soft", "-b", "common", "--trace", str(path)).code == 0
    ran = cli("regs", "dump", f"replay:{path}", "-b", "common", "-j")
    assert ran.json["blocks"]["common"]["registers"]["num_queues"]["value"] == 3


def test_a_guest_that_is_served_is_recorded_with_its_messages(tmp_path: Path) -> None:
    path, socket = tmp_path / "serve.trace", tmp_path / "s"
    with running("serve", "soft:port=echo", "--socket", str(socket), "--trace", str(path)) as server:
        assert server.line().startswith("listening")
        with VhostUserGuest(socket) as guest:
            guest.start()
        server.send_signal(signal.SIGTERM)
        ran = server.finish()
        assert (ran.code, ran.err) == (0, "")
    found = load(path).whole()
    words = [one.word for one in found.records]
    assert words.index("vhost") < words.index("map") < words.index("ioeventfd") < words.index("unmap")
    assert (words.count("counters"), words[-1]) == (1, "end")
    counters = json.loads(path.read_text().splitlines()[1 + words.index("counters")])[2]
    assert counters["driver"]["kicks"] == 2


def test_a_recording_that_cannot_be_made(cli: Cli) -> None:
    ran = cli("show", "soft", "--trace", "/no/such/directory/x")
    assert ran.code == 2
    assert "cannot write /no/such/directory/x (ENOENT" in ran.err


def test_validate_plays_its_register_checks_back(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "validate.trace"
    asked = ("--clause", "P-COM-14", "N-COAL-1")
    assert cli("validate", "soft", *asked, "--trace", str(path)).code == 0
    verdicts = {
        one["clause"]: one["verdict"] for one in cli("validate", "-j", f"replay:{path}", *asked).json["outcomes"]
    }
    assert verdicts == {"P-COM-14": "pass", "N-COAL-1": "skip"}


def test_a_check_that_was_not_recorded_is_left_out(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "validate.trace"
    cli("validate", "soft", "--clause", "N-COAL-1", "--trace", str(path))
    ran = cli("validate", "-j", f"replay:{path}", "--clause", "P-COM-14")
    assert "the recording has no part 'P-COM-14'" in ran.json["outcomes"][0]["reason"]


def test_a_mutant_is_found_in_its_recording(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "mutant.trace"
    assert cli("validate", "soft:mutant=P-COM-14", "--clause", "P-COM-14", "--trace", str(path)).code == 1
    assert cli("validate", f"replay:{path}", "--clause", "P-COM-14").code == 1
