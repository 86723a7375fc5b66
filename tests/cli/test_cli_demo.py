"""``demo``: the whole path with a verdict."""

from __future__ import annotations

import re
import signal
import time
from typing import Any

import pytest

from tests.cli.cli_rig import Cli, on_a_terminal, running
from vfiodpa.cli import demo
from vfiodpa.guest.traffic import Mode, Verdict

SCHEMA: dict[str, type | tuple[type, ...]] = {
    "schema": str,
    "verdict": str,
    "problems": list,
    "device": str,
    "driver": str,
    "seconds": float,
    "packets_per_second": int,
    "lost": int,
    "features": list,
    "doorbells": dict,
    "traffic": dict,
    "queues": list,
}


def test_the_verdict_as_json(cli: Cli) -> None:
    ran = cli("demo", "-j", "-t", "0.2")
    body = ran.json
    assert {name: type(value) for name, value in body.items()} == SCHEMA
    assert (ran.code, body["schema"], body["verdict"]) == (0, "vfiodpa.demo/1", "pass")
    assert (body["problems"], body["lost"]) == ([], 0)
    traffic = body["traffic"]
    assert traffic["sent"] == traffic["received"] == traffic["distinct"] > 0
    assert body["packets_per_second"] == pytest.approx(traffic["received"] / body["seconds"], rel=0.02)
    assert [queue["packets"] for queue in body["queues"]] == [traffic["received"], traffic["sent"]]
    assert body["doorbells"]["1"]["mode"] == "ioeventfd"
    assert {"NET_MRG_RXBUF", "VERSION_1"} <= set(body["features"])


@pytest.mark.parametrize(("port", "idle"), [("generate", "sent"), ("discard", "received")])
def test_ports_that_go_one_way(cli: Cli, port: str, idle: str) -> None:
    body = cli("demo", "-j", "-t", "0.2", f"soft:port={port}").json
    assert (body["verdict"], body["traffic"][idle]) == ("pass", 0)
    assert body["packets_per_second"] > 0


def test_all_pairs_carry_frames(cli: Cli) -> None:
    for port, kind in (("echo", "tx"), ("generate", "rx")):
        queues = cli("demo", "-j", "-t", "0.3", f"soft:queues=2,port={port}").json["queues"]
        assert all(queue["packets"] for queue in queues if queue["kind"] == kind), port


def test_as_many_entries_as_the_device_takes(cli: Cli) -> None:
    body = cli("demo", "-j", "-t", "0.2", "soft:size=4").json
    assert (body["verdict"], body["traffic"]["received"] > 0) == ("pass", True)


def test_as_many_pairs_as_the_device_has(cli: Cli) -> None:
    ran = cli("demo", "-j", "-t", "0.2", "soft:queues=128")
    assert (ran.code, len(ran.json["queues"])) == (0, 256)


def test_kicks_through_the_relay(cli: Cli) -> None:
    body = cli("demo", "-j", "-t", "0.2", "soft:ioeventfd=off").json
    assert body["verdict"] == "pass"
    assert {choice["mode"] for choice in body["doorbells"].values()} == {"relay"}


def test_large_frames(cli: Cli) -> None:
    body = cli("demo", "-j", "-t", "0.2", "--size", "9000", "soft:mtu=9000").json
    assert body["verdict"] == "pass"
    assert body["traffic"]["received_bytes"] == 9000 * body["traffic"]["received"]


def test_it_takes_as_long_as_it_is_told(cli: Cli) -> None:
    began = time.monotonic()
    seconds = cli("demo", "-j", "-t", "0.5").json["seconds"]
    assert 0.5 <= seconds < 5
    assert time.monotonic() - began >= 0.5


def test_for_people_without_a_terminal(cli: Cli) -> None:
    out = cli("demo", "-t", "0.2").out
    assert re.search(r"^features   NET_MRG_RXBUF .*VERSION_1$", out, re.MULTILINE)
    why = "the function takes the kick eventfd itself; no host notifier: queues share a doorbell page"
    assert f"doorbells  ioeventfd ({why}): queues 0 1\n" in out
    assert re.search(r"^PASS: (\d+) sent, \1 received in [\d.]+ s: clean, [\d.]+ Mpps\n\Z", out, re.MULTILINE)


def test_a_failure_is_a_verdict_and_an_exit_code(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Verdict, "problems", property(lambda _: ["3 lost"]))
    ran = cli("demo", "-j", "-t", "0.1")
    assert (ran.code, ran.json["verdict"], ran.json["problems"]) == (1, "fail", ["3 lost"])
    ran = cli("demo", "-t", "0.1")
    assert ran.code == 1
    assert re.search(r"^FAIL: .*: 3 lost, ", ran.out, re.MULTILINE)


def test_a_device_that_carries_nothing_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expect an echo of a port that discards: everything is lost."""
    monkeypatch.setattr(demo, "_mode", lambda _device: Mode.ECHO)
    ran = cli("demo", "-j", "-t", "0.2", "soft:port=discard")
    assert (ran.code, ran.json["verdict"]) == (1, "fail")
    assert ran.json["lost"] == ran.json["traffic"]["sent"] > 0


def test_the_live_view() -> None:
    ran = on_a_terminal("demo", "-t", "0.8", columns=100)
    assert ran.code == 0
    assert len(re.findall(r"[\d.]+ Mpps   sent", ran.out)) >= 2  # it was refreshed
    assert re.search(r"packets.*bytes.*dropped.*kicks.*calls", re.sub(r"\x1b\[[\d;]*m", "", ran.out))
    assert ran.out.rstrip().splitlines()[-1].replace("\x1b[?25h", "").startswith("PASS: ")


def test_ctrl_c_ends_it_cleanly() -> None:
    with running("demo", "-t", "60") as process:
        while " Mpps " not in process.line():
            pass
        process.send_signal(signal.SIGINT)
        ran = process.finish()
    assert (ran.code, ran.err) == (130, "")


def types_of(body: dict[str, Any]) -> dict[str, type]:
    return {name: type(value) for name, value in body.items()}


def test_counters_are_numbers(cli: Cli) -> None:
    body = cli("demo", "-j", "-t", "0.1").json
    assert set(types_of(body["traffic"]).values()) == {int}
    for queue in body["queues"]:
        assert set(types_of({k: v for k, v in queue.items() if k != "kind"}).values()) == {int}
