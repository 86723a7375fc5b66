"""The verbs for PCI functions, on a machine made of files: output and exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.pci.fake_host import NIC, OTHER, FakeHost
from vfiodpa.cli.main import main
from vfiodpa.pci.device import PciDevice
from vfiodpa.pci.rule import rule_path

Capture = pytest.CaptureFixture[str]


def run_json(host: FakeHost, capsys: Capture, *words: str) -> tuple[int, dict[str, Any]]:
    code = main([words[0], "-j", *words[1:]], host)
    return code, json.loads(capsys.readouterr().out)


def test_bind_and_unbind(host: FakeHost, capsys: Capture) -> None:
    host.add(interface="eth7")
    assert main(["bind", "00:05.0"], host) == 0
    assert f"{NIC}: virtio-pci -> vfio-pci" in capsys.readouterr().out
    assert main(["bind", NIC], host) == 0
    assert "vfio-pci has it already" in capsys.readouterr().out
    assert main(["unbind", NIC], host) == 0
    assert f"{NIC}: vfio-pci -> virtio-pci" in capsys.readouterr().out


def test_bind_as_json_names_the_nodes(host: FakeHost, capsys: Capture) -> None:
    path = host.add()
    (path / "vfio-dev/vfio2").mkdir(parents=True)
    (host.dev / "vfio/devices").mkdir()
    (host.dev / "vfio/devices/vfio2").touch()
    code, body = run_json(host, capsys, "bind", NIC)
    assert (code, body["schema"], body["dry_run"]) == (0, "vfiodpa.bind/1", False)
    (device,) = body["devices"]
    assert (device["from"], device["to"], device["iommu_group"]) == ("virtio-pci", "vfio-pci", 3)
    assert device["nodes"] == [str(host.dev / "vfio/3"), str(host.dev / "vfio/devices/vfio2")]


def test_a_dry_run_prints_the_commands_and_does_nothing(host: FakeHost, capsys: Capture) -> None:
    host.add()
    assert main(["bind", "--dry-run", "--persist", NIC], host) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"echo vfio-pci > {host.device(NIC)}/driver_override",
        f"echo {NIC} > {host.driver('virtio-pci')}/unbind",
        f"echo {NIC} > {host.pci}/drivers_probe",
        f"# write {rule_path(host, NIC)}",
    ]
    assert host.written == []
    assert not host.rules.exists()


def test_a_dry_run_of_unbind(host: FakeHost, capsys: Capture) -> None:
    host.add()
    main(["bind", "--persist", NIC], host)
    host.written.clear()
    capsys.readouterr()
    assert main(["unbind", "-n", NIC], host) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"echo {NIC} > {host.driver('vfio-pci')}/unbind",
        f"echo > {host.device(NIC)}/driver_override",
        f"echo {NIC} > {host.pci}/drivers_probe",
        f"rm {rule_path(host, NIC)}",
    ]
    assert host.written == []


def test_unbind_removes_the_rule_also_of_a_function_that_is_gone(host: FakeHost, capsys: Capture) -> None:
    host.add()
    main(["bind", "--persist", NIC], host)
    (host.pci / "devices" / NIC).unlink()
    assert main(["unbind", NIC], host) == 0
    assert "rule removed" in capsys.readouterr().out
    assert main(["unbind", NIC], host) == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [(["bind", "0000:00:1e.0"], 3), (["bind", NIC], 1), (["bind", OTHER], 7)],
    ids=["absent", "default-route", "no-iommu"],
)
def test_exit_codes(host: FakeHost, capsys: Capture, words: list[str], code: int) -> None:
    host.add(NIC, interface="eth0")
    host.add(OTHER, group=None)
    host.default_route("eth0")
    assert main(words, host) == code
    assert capsys.readouterr().err.startswith("vfiodpa: ")


def test_no_permission_is_exit_code_4(host: FakeHost, capsys: Capture) -> None:
    host.add()
    host.refused["driver_override", "vfio-pci"] = 13
    assert main(["bind", NIC], host) == 4
    assert "EACCES" in capsys.readouterr().err


def test_what_is_no_address_is_a_usage_error(host: FakeHost) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bind", "eth0"], host)
    assert caught.value.code == 2


def test_list_says_what_is_in_the_way(host: FakeHost, capsys: Capture) -> None:
    host.add(NIC, interface="eth0")
    host.add(OTHER, ids=(0x8086, 0x10D3), driver="vfio-pci", group=4)
    host.default_route("eth0")
    code, body = run_json(host, capsys, "list")
    assert (code, body["schema"]) == (0, "vfiodpa.list/1")
    devices = {device["device"]: device for device in body["devices"]}
    assert devices["soft"]["obstacle"] == ""
    assert devices[NIC]["obstacle"] == "carries the default route (eth0); bound to virtio-pci"
    assert devices[NIC]["obstacles"][1]["remedy"] == f"vfiodpa bind {NIC}"
    assert devices[OTHER]["obstacle"] == "no driver of vfiodpa knows 8086:10d3"


def test_list_for_people_leaves_empty_columns_out(host: FakeHost, capsys: Capture) -> None:
    host.add()
    assert main(["list"], host) == 0
    head = capsys.readouterr().out.splitlines()[0].split()
    assert head == ["DEVICE", "KIND", "DRIVER", "GROUP", "IN", "THE", "WAY"]


def test_show_of_a_function_that_another_driver_has(host: FakeHost, capsys: Capture) -> None:
    path = host.add()
    (path / "config").write_bytes(bytes(64))
    host.add(OTHER, driver="e1000e")
    code, body = run_json(host, capsys, "show", "00:05.0")
    assert (code, body["device"]) == (0, NIC)
    assert body["group_members"] == [{"name": NIC, "driver": "virtio-pci"}, {"name": OTHER, "driver": "e1000e"}]
    assert "need root" in body["capabilities_problem"]
    assert main(["show", NIC], host) == 0
    text = capsys.readouterr().out
    assert "in the way:" in text
    assert f"vfiodpa bind {NIC}" in text


def test_show_of_a_function_that_is_absent(host: FakeHost) -> None:
    assert main(["show", NIC], host) == 3


def test_doctor(host: FakeHost, capsys: Capture) -> None:
    assert main(["doctor"], host) == 7
    text = capsys.readouterr().out
    assert "fail  IOMMU" in text
    assert "the software NIC works" in text
    code, body = run_json(host, capsys, "doctor", "soft")
    assert (code, body["schema"], body["able"]) == (0, "vfiodpa.doctor/1", True)
    assert all(set(check) == {"name", "level", "text", "remedy"} for check in body["checks"])


def test_the_state_after_bind_is_what_the_kernel_says(host: FakeHost) -> None:
    host.add()
    main(["bind", NIC], host)
    assert PciDevice.read(host, NIC).on_vfio
