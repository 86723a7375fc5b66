"""``shell``: the names it offers, scripts piped in, completion, and the device reset at the end."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from vfiodpa.cli.completion import Completer
from vfiodpa.cli.main import main
from vfiodpa.cli.shell import LiveConfig, namespace
from vfiodpa.vdpa.devices import open_nic
from vfiodpa.vdpa.nic import Nic

Capture = pytest.CaptureFixture[str]


def script(monkeypatch: pytest.MonkeyPatch, source: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(source))
    return main(["shell", "soft:mac=52:54:00:00:00:07"])


def test_a_script_finds_everything_by_name(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    source = """
for queue in queues:
    regs.common.queue_select = queue.index
    print(queue.index, regs.common.queue_size)
print("mac" in features, config.mac, nic.device.driver)
"""
    assert script(monkeypatch, source) == 0
    assert capsys.readouterr().out.splitlines() == ["0 1024", "1 1024", "True 52:54:00:00:00:07 softnic"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("1/0", 1),
        ("print(", 1),
        ("from vfiodpa.errors import DeviceGone\nraise DeviceGone('pulled')", 6),
        ("raise SystemExit(5)", 5),
    ],
)
def test_a_script_that_fails_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, source: str, code: int
) -> None:
    if "SystemExit" in source:
        with pytest.raises(SystemExit) as caught:
            script(monkeypatch, source)
        assert caught.value.code == code
    else:
        assert script(monkeypatch, source) == code
        assert "Error" in capsys.readouterr().err or code == 6


def test_the_device_is_closed_at_the_end(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    kept: list[Nic] = []

    def keep(nic: Nic) -> dict[str, Any]:
        kept.append(nic)
        return namespace(nic)

    monkeypatch.setattr("vfiodpa.cli.shell.namespace", keep)
    assert script(monkeypatch, "nic.device.negotiate(features.guest); print(nic)") == 0
    assert "driver softnic" in capsys.readouterr().out
    assert "closed" in repr(kept[0])


def test_code_on_the_command_line(capsys: Capture) -> None:
    assert main(["shell", "soft", "-c", "print(len(queues))"]) == 0
    assert capsys.readouterr().out == "2\n"


def test_a_real_prompt() -> None:
    """On a terminal: banner, expressions, completion, an error that does not end it, Ctrl-D."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "dumb", "PYTHONSTARTUP": "", "INPUTRC": "/dev/null"}
    with subprocess.Popen(
        [sys.executable, "-m", "vfiodpa", "shell", "soft"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
    ) as prompt:  # fmt: skip
        os.close(theirs)
        try:
            heard = listen(ours, b">>> ")
            assert b"Leave with Ctrl-D" in heard
            os.write(ours, b"regs.common.queue_siz\t\n")
            assert b"1024" in listen(ours, b">>> ")
            os.write(ours, b"regs.nothing\n")
            assert b"no register block" in listen(ours, b">>> ")
            os.write(ours, b"\x04")
            assert prompt.wait(20) == 0
        finally:
            prompt.kill()
            os.close(ours)


def listen(fd: int, until: bytes) -> bytes:
    heard = b""
    while not heard.endswith(until):
        heard += os.read(fd, 4096)  # a hang is pytest-timeout's business
    return heard


def test_completion_knows_registers_and_reads_none() -> None:
    with open_nic("soft") as nic:
        reads: list[int] = []
        window = nic.regs.isr._window
        nic.regs.isr._window = Counting(window, reads)  # type: ignore[assignment]
        completer = Completer(namespace(nic))
        assert completer.attr_matches("regs.com") == ["regs.common"]
        assert completer.attr_matches("regs.common.queue_s") == ["regs.common.queue_select", "regs.common.queue_size"]
        assert completer.attr_matches("regs.isr.") == ["regs.isr.isr", "regs.isr.dump("]
        assert completer.attr_matches("regs.isr.isr.") == []
        assert completer.attr_matches("nic.regs.common.num") == ["nic.regs.common.num_queues"]
        assert "features.why_not(" in completer.attr_matches("features.why")
        assert completer.attr_matches("nothing.x") == []
        assert reads == []


class Counting:
    def __init__(self, window: object, reads: list[int]) -> None:
        self.window, self.reads, self.length = window, reads, 1

    def read(self, offset: int, width: int) -> int:
        self.reads.append(offset)
        return 0


def test_config_is_read_anew_each_time() -> None:
    with open_nic("soft") as nic:
        config = LiveConfig(nic)
        assert config.mac == nic.config.mac
        assert "mtu" in dir(config)
        assert repr(config) == repr(nic.config)


def test_a_driver_by_name(capsys: Capture) -> None:
    assert main(["shell", "soft", "--driver", "virtio_pci", "-c", "print(nic.device.driver)"]) == 0
    assert capsys.readouterr().out == "virtio_pci\n"
