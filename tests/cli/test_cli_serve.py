"""``serve``: ready line, signals, report."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.cli_rig import Cli, running
from vfiodpa.guest.traffic import Plan, run
from vfiodpa.guest.vhost_user import VhostUserGuest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nic.sock"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_just_after_the_ready_line(path: Path, number: signal.Signals) -> None:
    for _ in range(5):
        with running("serve", "soft", "--socket", str(path)) as process:
            process.line()
            process.send_signal(number)
            process.send_signal(number)
            assert (process.finish().code, path.exists()) == (0, False)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.02, 0.05])
def test_a_signal_while_it_starts(path: Path, delay: float) -> None:
    with running("serve", "soft", "--socket", str(path)) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        ran = process.finish()
    assert (ran.code in (0, -signal.SIGTERM), ran.err, path.exists()) == (True, "", False)


def wait_for(path: Path) -> dict[str, Any]:
    end = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    body = json.loads(path.read_text())
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(path: Path, number: signal.Signals) -> None:
    with running("serve", "soft:port=echo", "--socket", str(path)) as process:
        assert process.line() == f"listening on {path}\n"
        with VhostUserGuest(path) as guest:
            guest.start()
            assert run(guest, Plan(count=50), seconds=10).clean
            process.send_signal(number)  # with the guest attached
            ran = process.finish()
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert not path.exists()


def test_the_ready_line_as_json(path: Path) -> None:
    with running("serve", "-j", "soft", "-s", str(path)) as process:
        text = ""
        while not text.endswith("}\n"):
            text += process.line()
    assert json.loads(text) == {
        "schema": "vfiodpa.serve/1",
        "event": f"listening on {path}",
        "device": "soft0",
        "socket": str(path),
    }


def test_client_mode(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with running("serve", "--client", "soft", "-s", str(path)) as process:
            listener.accept()[0].close()
            assert process.line() == f"connected to {path}\n"
            process.send_signal(signal.SIGTERM)
            assert process.finish().code == 0


def test_reports_at_a_signal_and_at_the_end(path: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with running("serve", "soft", "-s", str(path), "--report", str(report)) as process:
        process.line()
        process.send_signal(signal.SIGUSR1)
        assert wait_for(report)["queues"][1]["packets"] == 0
        with VhostUserGuest(path) as guest:
            guest.start()
            assert run(guest, Plan(count=50), seconds=10).clean
        process.send_signal(signal.SIGTERM)
        assert process.finish().code == 0
    body = wait_for(report)
    assert body["schema"] == "vfiodpa.report/1"
    assert [queue["packets"] for queue in body["queues"]] == [50, 50]


def test_a_report_that_cannot_be_written_does_not_stop_the_guests(path: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"  # by a link, which a mistake may break
    full.symlink_to("/dev/full")
    with running("serve", "soft", "-s", str(path), "--report", str(full)) as process:
        process.line()
        process.send_signal(signal.SIGUSR1)
        with VhostUserGuest(path) as guest:
            guest.start()
            assert run(guest, Plan(count=50), seconds=10).clean
        process.send_signal(signal.SIGTERM)
        ran = process.finish()
    assert ran.code == 4
    assert f"cannot write the report {full} (ENOSPC" in ran.err
    assert "Traceback" not in ran.err
    assert full.is_symlink()  # not replaced by a file


def test_a_report_that_can_never_be_written_is_known_at_the_start(cli: Cli, path: Path, tmp_path: Path) -> None:
    ran = cli("serve", "soft", "-s", str(path), "--report", str(tmp_path / "none/report"))
    assert (ran.code, ran.out) == (2, "")
    assert f"try: mkdir -p {tmp_path / 'none'}" in ran.err


def test_a_socket_that_is_served_is_refused(path: Path) -> None:
    with running("serve", "soft", "-s", str(path)) as process:
        process.line()
        with running("serve", "soft", "-s", str(path)) as other:
            ran = other.finish()
        assert (ran.code, ran.out) == (1, "")
        assert f"{path}: another process serves this socket; try: fuser {path}" in ran.err
        assert path.is_socket()


def test_v_explains_the_features_in_a_few_lines(path: Path) -> None:
    with running("serve", "-v", "soft", "-s", str(path)) as process:
        process.line()
        with VhostUserGuest(path) as guest:
            guest.start()
        process.send_signal(signal.SIGTERM)
        ran = process.finish()
    lines = [line.partition(" INFO soft0: ")[2] for line in ran.err.splitlines() if " INFO soft0: " in line]
    assert lines[0].startswith("offered: NET_CSUM NET_GUEST_CSUM NET_MTU NET_MAC")
    assert any(line.startswith("not offered, the device does not have it: NET_GSO ") for line in lines)
    reasons = [line.partition(":")[0] for line in lines if line.startswith("not offered, ")]
    assert "not offered, vhost-user messages carry 64 feature bits" in reasons  # tunnels
    assert len(reasons) == len(set(reasons)) == sum("offered" in line for line in lines) - 1  # a line for each
    assert any("started, queues [0, 1]" in line for line in lines)
    why = "the function takes the kick eventfd itself; no host notifier: queues share a doorbell page"
    assert f"doorbells of queues 0 1: ioeventfd ({why})" in lines


@pytest.mark.parametrize("best", ["notifier", "ioeventfd", "relay"])
def test_the_best_doorbell_that_may_be_used(path: Path, best: str) -> None:
    with running("serve", "-v", "soft:notifier=on", "-s", str(path), "--doorbell", best) as process:
        process.line()
        with VhostUserGuest(path, notifiers=True) as guest:
            guest.start()
            assert guest.take_notifiers(5.0 if best == "notifier" else 0.1) == (best == "notifier")
        process.send_signal(signal.SIGTERM)
        ran = process.finish()
    last = [line for line in ran.err.splitlines() if "queue 1: doorbell by" in line][-1]
    assert f"doorbell by {best} (" in last
    assert ("no host notifier: it is not wanted" in last) == (best != "notifier")


def test_a_doorbell_that_is_none(path: Path) -> None:
    with running("serve", "soft", "-s", str(path), "--doorbell", "brass") as process:
        ran = process.finish()
    assert ran.code == 2
    assert "notifier" in ran.err


def test_serve_with_a_driver_by_name(path: Path) -> None:
    with running("serve", "soft", "--driver", "virtio_pci", "--socket", str(path), "-v") as process:
        process.line()
        process.send_signal(signal.SIGTERM)
        assert process.finish().code == 0
    with running("serve", "soft", "--driver", "acme", "--socket", str(path)) as process:
        ran = process.finish()
    assert (ran.code, "there are ifcvf, softnic, virtio_pci" in ran.err) == (2, True)


def test_workers_cpus_and_poll_in_the_report(path: Path, tmp_path: Path) -> None:
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    words = ["--cpus", cpus, "--poll", "sleep", "--report", str(tmp_path / "report.json")]
    with running("serve", "soft:queues=2,workers=2", "-s", str(path), *words) as process:
        process.line()
        with VhostUserGuest(path) as guest:
            guest.start()
            assert run(guest, Plan(count=50, window=1, poll_us=0), seconds=10).clean
        process.send_signal(signal.SIGTERM)
        process.finish()
    body = json.loads((tmp_path / "report.json").read_text())
    first, second = body["workers"]
    assert (first["pairs"], first["packets"], second["packets"]) == ([0], 50, 0)
    assert 0 < first["busy_cycles"] < body["tsc_hz"] * 10
    assert first["packets"] <= first["polls"] - first["empty_polls"] + 50
    assert first["sleeps"] >= 10


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["soft", "--cpus", "1-"], "is no list of CPUs"),
        (["soft:poll=7", "--poll", "busy"], "given twice"),
        (["0000:3b:00.2", "--poll", "busy"], "for the software NIC"),
        (["soft:workers=shared", "--cpus", "0"], "not for one device to say"),
    ],
)
def test_words_about_workers_that_make_no_sense(cli: Cli, path: Path, words: list[str], says: str) -> None:
    ran = cli("serve", *words, "-s", str(path))
    assert (ran.code, says in ran.err) == (2, True)
