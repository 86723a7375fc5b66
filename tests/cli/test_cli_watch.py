"""``list --watch``."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.pci.fake_host import NIC, FakeHost
from vfiodpa.cli import devices
from vfiodpa.cli.main import main
from vfiodpa.pci.hotplug import HotplugEvent

EVENTS = [
    HotplugEvent("add", NIC, "1af4:1041", 0x20000, ""),
    HotplugEvent("bind", NIC, "1af4:1041", 0x20000, "vfio-pci"),
    HotplugEvent("remove", NIC, "", 0, ""),
]


class FakeHotplug:
    def __iter__(self) -> Iterator[HotplugEvent]:
        yield from EVENTS
        raise KeyboardInterrupt  # what ends it


@pytest.fixture(autouse=True)
def hotplug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "Hotplug", FakeHotplug)


def test_the_list_and_then_a_line_for_each_event(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--watch"], host) == 130
    assert capsys.readouterr().out.splitlines()[-3:] == [
        f"add {NIC} 1af4:1041",
        f"bind {NIC} 1af4:1041 vfio-pci",
        f"remove {NIC}",
    ]


def test_one_json_object_for_each_event(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--watch", "--json"], host) == 130
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [json.loads(line)["action"] for line in lines] == ["add", "bind", "remove"]
