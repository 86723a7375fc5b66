"""``show``."""

from __future__ import annotations

import re

import pytest

from tests.cli.cli_rig import Cli, on_a_terminal
from vfiodpa.errors import DeviceTimeout
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature, parse
from vfiodpa.validate import flow_filter_facts
from vfiodpa.validate.device import Device
from vfiodpa.validate.flow_filter import FlowFilter

SCHEMA: dict[str, type] = {
    "schema": str,
    "device": str,
    "driver": str,
    "pci": dict,
    "config": dict,
    "queue_pairs": int,
    "interrupts": str,
    "queues": list,
    "features": dict,
    "can": dict,
    "doorbells": dict,
    "iommu": dict,
    "iova_ranges": list,
    "flow_filter": dict,
}


def test_show_as_json(cli: Cli) -> None:
    body = cli("show", "-j", "soft:queues=2,mac=52:54:00:00:00:01,mtu=9000,iova=40").json
    assert {name: type(value) for name, value in body.items()} == SCHEMA
    assert body["schema"] == "vfiodpa.show/1"
    assert body["interrupts"].startswith("an MSI-X vector for each queue")
    assert body["pci"] == {"id": "1af4:1041", "subsystem": "1af4:5d1c", "revision": 1, "vectors": 5}
    assert body["config"] == {
        "mac": "52:54:00:00:00:01", "link_up": True, "mtu": 9000, "max_queue_pairs": 2, "speed": 10000,
    }  # fmt: skip
    assert body["queues"][3] == {
        "queue": 3, "kind": "transmit", "size_max": 1024, "bar": 0, "offset": 0x300C, "width": 16, "value": 3,
    }  # fmt: skip
    assert body["iova_ranges"] == [["0x0", "0xffffffffff"]]
    assert all(type(able) is bool for able in body["can"].values())


def test_every_feature_is_offered_or_has_a_reason(cli: Cli) -> None:
    features = cli("show", "-j", "soft").json["features"]
    assert int(features["device_mask"], 16) == sum(parse(name) for name in features["device"])
    assert set(features["guest"]) | set(features["not_offered"]) == {bit.name for bit in Feature}
    assert not set(features["guest"]) & set(features["not_offered"])
    assert all(features["not_offered"].values())


def test_show_says_what_the_flow_filter_has(cli: Cli) -> None:
    assert cli("show", "-j", "soft").json["flow_filter"] == {}
    assert re.search(r"^flow filter +none$", cli("show", "soft").out, re.MULTILINE)
    found = cli("show", "-j", "soft:admin=on").json["flow_filter"]
    assert (found["rules_limit"], found["headers"][:2], found["actions"]) == (
        64,
        ["ETH", "IPV4"],
        ["DROP", "DIRECT_RX_VQ"],
    )
    line = re.search(r"^flow filter +(.*)$", cli("show", "soft:admin=on").out, re.MULTILINE)
    assert line and line[1].startswith("64 rules in 16 groups, by 16 classifiers of ETH IPV4")


def test_a_device_that_does_not_tell_of_its_flow_filter(cli: Cli) -> None:
    found = cli("show", "-j", "soft:admin=on,mutant=ADC-5").json["flow_filter"]
    assert "LIST_USE" in found["problem"]
    assert "not told: LIST_USE" in cli("show", "soft:admin=on,mutant=ADC-5").out


def test_registers_only_when_asked_for(cli: Cli) -> None:
    assert "registers" not in cli("show", "-j", "soft").json
    blocks = cli("show", "-j", "-r", "soft").json["registers"]
    assert set(blocks) == {"pci", "common", "net", "vendor"}
    assert blocks["common"]["num_queues"] == 3  # the control queue is one


def test_show_for_people(cli: Cli) -> None:
    out = cli("show", "soft:queues=2,mac=52:54:00:00:00:01").out
    assert "config         52:54:00:00:00:01, link up, MTU 1500, 2 queue pairs, 10000 Mbit/s\n" in out
    assert "queues         2 pairs, up to 1024 entries\n" in out
    assert "can            stop one queue, resume a queue where it stood, announce a guest (RARP)\n" in out
    assert "cannot         log dirty pages\n" in out
    assert "num_queues" not in out


@pytest.mark.parametrize(
    ("device", "can", "words"),
    [
        ("soft", False, "no: queues share a doorbell page"),
        ("soft:notifier=on", True, "yes: each queue's doorbell has a page of its own that a guest can be given"),
    ],
)
def test_show_says_whether_a_guest_can_ring_by_itself(cli: Cli, device: str, can: bool, words: str) -> None:
    assert f"host notifier  {words}\n" in cli("show", device).out
    doorbells = cli("show", "-j", device).json["doorbells"]
    assert doorbells == {"host_notifier": can, "why": words.partition(": ")[2]}


def test_show_says_what_a_device_cannot_do(cli: Cli) -> None:
    out = cli("show", "soft:model=plain,reset=off").out
    assert "stop one queue, resume a queue where it stood, announce a guest (RARP), log dirty pages\n" in out


def test_show_prints_registers_for_people(cli: Cli) -> None:
    out = cli("show", "-r", "soft").out
    assert "common: CommonCfg (virtio 1.4, 4.1.4.3)\n" in out
    assert "  0x0012  num_queues               0x0003\n" in out


def test_no_information_is_lost_between_both_forms(cli: Cli) -> None:
    body, out = cli("show", "-j", "soft").json, cli("show", "soft").out
    words = set(out.replace(",", " ").split())
    assert set(body["features"]["not_offered"]) <= words
    assert all(f"{why}:" in out for why in body["features"]["not_offered"].values())


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_show_keeps_to_the_terminal(columns: int) -> None:
    ran = on_a_terminal("show", "soft:queues=2", columns=columns)
    assert ran.code == 0
    longest = max(ran.out.splitlines(), key=len)
    assert columns - 30 < len(longest) <= columns, longest


def test_a_driver_by_name(cli: Cli) -> None:
    assert cli("show", "soft", "-j").json["driver"] == "softnic"
    body = cli("show", "soft", "--driver", "virtio_pci", "-j").json
    assert (body["driver"], body["can"]["resume a queue where it stood"]) == ("virtio_pci", False)


def test_an_unknown_driver_lists_those_that_there_are(cli: Cli) -> None:
    ran = cli("show", "soft", "--driver", "acme")
    assert (ran.code, ran.out) == (2, "")
    assert "no driver is called 'acme'; there are ifcvf, softnic, virtio_pci" in ran.err


def test_a_driver_that_does_not_fit(cli: Cli) -> None:
    ran = cli("show", "soft:model=plain", "--driver", "softnic")
    assert (ran.code, "BAR 2 is not implemented" in ran.err) == (6, True)


def test_what_ifcvf_can_do(cli: Cli) -> None:
    can = cli("show", "soft:model=ifcvf", "-j").json["can"]
    assert can["log dirty pages"]
    assert not cli("show", "soft", "-j").json["can"]["log dirty pages"]


@pytest.mark.parametrize("fault", ["all_ones", "restless_config"])
def test_a_device_that_misbehaves(cli: Cli, fault: str) -> None:
    ran = cli("show", f"soft:fault={fault}")
    assert (ran.code, ran.out) == (6, "")
    assert re.match(r"vfiodpa: soft\d+: the (device is gone|configuration changed)", ran.err)


def test_a_device_that_is_lost_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a problem of that answer, and what was mapped for it is unmapped."""

    def lost(_flows: FlowFilter) -> None:
        monkeypatch.setattr(Device, "reset", refuse)

    def refuse(_device: Device) -> float:
        raise DeviceTimeout("device_status is 0xf 5 s after a reset")

    monkeypatch.setattr(flow_filter_facts, "_facts", lost)
    with SoftFunction("soft:admin=on") as nic:
        assert flow_filter_facts.describe_flow_filter(nic) == {"problem": "device_status is 0xf 5 s after a reset"}
        monkeypatch.undo()
        assert flow_filter_facts.describe_flow_filter(nic)["rules_limit"] > 0  # mapped at the same place
