"""Bind, unbind and what looks at bound functions, for real: inside the rig, on QEMU's NICs.

``python -m hwtests.rig run --nics vfio+wire0,kernel+wire0 -- python -m pytest hwtests/pci``
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vfiodpa.cli.main import main
from vfiodpa.errors import StateError, VfiodpaError
from vfiodpa.pci import bind as binding
from vfiodpa.pci.device import PciDevice
from vfiodpa.pci.enumerate import functions
from vfiodpa.pci.host import Host
from vfiodpa.pci.hotplug import Hotplug, HotplugEvent
from vfiodpa.pci.rule import rule_path
from vfiodpa.vdpa.devices import open_nic

pytestmark = [
    pytest.mark.skipif(os.environ.get("VFIODPA_RIG") != "1", reason="takes NICs from their drivers: in the rig only"),
    pytest.mark.timeout(120),
]

HOST = Host()
Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def verb(capsys: pytest.CaptureFixture[str]) -> Verb:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words, HOST)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def nic() -> Iterator[str]:
    """A NIC on vfio-pci, before and after."""
    address = os.environ["VFIODPA_RIG_NICS"].split(",")[0]
    binding.bind(HOST, [read(address)])
    yield address
    binding.bind(HOST, [read(address)])


def read(address: str) -> PciDevice:
    return PciDevice.read(HOST, address)


def kernel_nic() -> PciDevice:
    found = functions(HOST, lambda device: device.is_network and device.driver == "virtio-pci")
    if not found:
        pytest.skip("no NIC with a kernel driver: --nics vfio+wire0,kernel+wire0")
    return found[0]


def test_a_nic_goes_back_to_its_driver_and_to_vfio_again(nic: str, verb: Verb) -> None:
    code, out, _ = verb("unbind", nic)
    assert (code, out) == (0, f"{nic}: vfio-pci -> virtio-pci\n")
    given = read(nic)
    assert (given.driver, given.driver_override) == ("virtio-pci", "")
    assert given.interfaces, "the kernel's driver works again"
    code, out, _ = verb("bind", "-j", nic)
    (move,) = json.loads(out)["devices"]
    assert (code, move["from"], move["to"]) == (0, "virtio-pci", "vfio-pci")
    assert move["interfaces_gone"] == list(given.interfaces)
    assert all(Path(node).exists() for node in move["nodes"])
    with open_nic(nic) as opened:
        assert opened.queues


def test_ten_rounds(nic: str) -> None:
    for _ in range(10):
        assert binding.unbind(HOST, read(nic)).driver == "virtio-pci"
        (bound,) = binding.bind(HOST, [read(nic)])
        assert bound.driver == "vfio-pci"


class Refusing(Host):
    """The kernel, but for the last write."""

    def write(self, path: Path, value: str) -> None:
        if path.name == "drivers_probe":
            raise VfiodpaError("made to fail")
        super().write(path, value)


def test_a_bind_that_fails_gives_the_nic_back(nic: str) -> None:
    before = binding.unbind(HOST, read(nic))
    with pytest.raises(VfiodpaError, match="made to fail"):
        binding.bind(Refusing(), [before])
    after = read(nic)
    assert (after.driver, after.driver_override) == ("virtio-pci", "")
    assert len(after.interfaces) == len(before.interfaces)


def test_a_dry_run_changes_nothing_and_its_commands_work(nic: str, verb: Verb) -> None:
    _, plan, _ = verb("unbind", "--dry-run", nic)
    assert read(nic).on_vfio
    subprocess.run(["/bin/sh", "-ec", plan], check=True, timeout=30)
    assert read(nic).driver == "virtio-pci"
    _, plan, _ = verb("bind", "--dry-run", nic)
    subprocess.run(["/bin/sh", "-ec", plan], check=True, timeout=30)
    assert read(nic).on_vfio


def test_a_rule_is_written_and_removed(nic: str, tmp_path: Path) -> None:
    host = Host(rules=tmp_path / "rules.d")
    binding.bind(host, [read(nic)], persist=True)
    path = rule_path(host, nic)
    assert nic in path.read_text()
    assert main(["unbind", nic], host) == 0
    assert not path.exists()


def test_the_nic_with_the_default_route_stays(verb: Verb) -> None:
    device = kernel_nic()
    (interface,) = device.interfaces
    subprocess.run(["ip", "link", "set", interface, "up"], check=True, timeout=30)
    subprocess.run(["ip", "route", "add", "default", "dev", interface], check=True, timeout=30)
    try:
        code, _, err = verb("bind", device.address)
    finally:
        subprocess.run(["ip", "route", "del", "default"], check=True, timeout=30)
    assert code == 1
    assert f"carries the default route ({interface})" in err
    assert read(device.address).driver == "virtio-pci"


def test_two_in_one_group_go_together_or_not_at_all(verb: Verb) -> None:
    first, second = group_mates()
    for address in (first, second):
        binding.unbind(HOST, read(address))
    code, _, err = verb("bind", first)
    assert (code, f"{second} (virtio-pci)" in err) == (1, True), err
    assert f"vfiodpa bind --group {first}" in err
    code, out, _ = verb("doctor", first)
    assert (code, f"also holds {second} (virtio-pci)" in out) == (1, True), out
    assert verb("bind", "--group", first)[0] == 0
    assert read(first).on_vfio
    assert read(second).on_vfio
    with open_nic(first) as opened:
        assert opened.queues


def group_mates() -> tuple[str, str]:
    """Two NICs on vfio-pci that one IOMMU group holds."""
    nics = functions(HOST, lambda device: device.is_network and device.on_vfio)
    for one, other in itertools.combinations(nics, 2):
        if one.iommu_group == other.iommu_group:
            return one.address, other.address
    pytest.skip("no two NICs in one IOMMU group: a rig with a twin")


def test_the_function_that_the_root_is_mounted_from_stays(verb: Verb) -> None:
    shares = [d for d in functions(HOST) if list(HOST.device(d.address).glob("*/mount_tag"))]
    assert shares, "the rig shares its root by 9p"
    for device in shares:
        code, _, err = verb("bind", device.address)
        assert (code, "9p" in err) == (1, True), err


def test_unbind_does_not_wait_for_a_process_that_has_it_open(nic: str) -> None:
    with open_nic(nic), pytest.raises(StateError, match=rf"\(pid {os.getpid()}\)"):
        binding.unbind(HOST, read(nic))
    assert read(nic).on_vfio


def test_changes_of_driver_are_watched(nic: str) -> None:
    hotplug = Hotplug()
    binding.unbind(HOST, read(nic))
    binding.bind(HOST, [read(nic)])
    seen: list[HotplugEvent] = []
    end = time.monotonic() + 20
    while [e.action for e in seen].count("bind") < 2 and time.monotonic() < end:
        event = hotplug.poll(1)
        if event is not None and event.address == nic:
            seen.append(event)
    assert [event.action for event in seen] == ["unbind", "bind", "unbind", "bind"]
    assert seen[-1].ids == "1af4:1041"
    assert seen[-1].driver == "vfio-pci"


def test_doctor_before_and_after(nic: str, verb: Verb) -> None:
    code, out, _ = verb("doctor", "-j", nic)
    checks: dict[str, Any] = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 0, out
    assert checks["open"]["level"] == checks["IOMMU"]["level"] == "ok"
    assert "0x" in checks["I/O addresses"]["text"]
    binding.unbind(HOST, read(nic))
    code, out, _ = verb("doctor", nic)
    assert code == 1
    assert f"try: vfiodpa bind {nic}" in out


def test_doctor_and_show_say_who_has_it(nic: str, verb: Verb) -> None:
    with open_nic(nic):
        code, out, _ = verb("doctor", nic)
        assert (code, f"(pid {os.getpid()}) has it open" in out) == (1, True)
        code, out, err = verb("show", nic)
        assert code == 4
        assert "in use" in err


def test_show_and_registers(nic: str, verb: Verb) -> None:
    code, out, err = verb("show", "-j", nic)
    assert code == 0, err
    body = json.loads(out)
    assert body["function"]["driver"] == "vfio-pci"
    assert body["capabilities_problem"] == ""
    assert {"msix", "vendor"} <= {capability["name"] for capability in body["capabilities"]}
    code, out, err = verb("regs", "-j", "dump", nic, "--write", "common.queue_select=1", "--yes")
    assert code == 0, err
    common = json.loads(out)["blocks"]["common"]["registers"]
    assert common["queue_select"]["value"] == 1
    assert common["queue_size"]["value"] > 0
    assert verb("shell", nic, "-c", "print(len(queues), 'mac' in features)")[1] == "2 True\n"


def test_list(nic: str, verb: Verb) -> None:
    _, out, _ = verb("list", "-j")
    entry = next(device for device in json.loads(out)["devices"] if device["device"] == nic)
    assert (entry["obstacle"], entry["driver"], entry["vfiodpa_driver"]) == ("", "vfio-pci", "virtio_pci")
    assert entry["iommu_group"] is not None
