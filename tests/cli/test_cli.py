"""Words in; exit codes, errors and streams out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.cli_rig import Cli, on_a_terminal, running
from vfiodpa.cli import main as cli_main
from vfiodpa.cli import show
from vfiodpa.errors import (
    DeviceGone,
    ExitCode,
    LimitError,
    NoDevice,
    ProtocolViolation,
    StateError,
    Unsupported,
    UsageError,
    VfiodpaError,
)

VERBS = {
    "demo": [],
    "serve": ["soft", "-s", "x"],
    "list": [],
    "show": ["soft"],
    "bind": ["3b:00.2"],
    "unbind": ["3b:00.2"],
    "doctor": [],
    "regs": ["dump", "soft"],
    "shell": ["soft"],
    "validate": [],
}


# Words


@pytest.mark.parametrize("words", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_names_the_exit_codes(cli: Cli, words: list[str]) -> None:
    ran = cli(*words)
    assert (ran.code, ran.err) == (0, "")
    assert "7 not supported" in " ".join(ran.out.split())


def test_the_version(cli: Cli) -> None:
    assert re.fullmatch(r"vfiodpa \d+\.\d+\.\d+\S*\n", cli("--version").out)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["frobnicate"],
        ["show"],
        ["show", "soft", "more"],
        ["show", "--frob", "soft"],
        ["serve", "soft"],
        ["serve", "--socket", "/tmp/x"],
        ["list", "soft"],
        ["bind"],
        ["bind", "eth0"],
        ["regs", "soft"],
        ["demo", "-t", "0"],
        ["demo", "-t", "-1"],
        ["demo", "-t", "nan"],
        ["demo", "-t", "soon"],
        ["demo", "--size", "big"],
    ],
)
def test_wrong_words_are_usage_errors(cli: Cli, words: list[str]) -> None:
    ran = cli(*words)
    assert ran.code == ExitCode.USAGE
    assert ran.out == ""
    assert ran.err.startswith("usage: vfiodpa")
    assert "_seconds" not in ran.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["show", "eth0"], 2, "'eth0' is no device"),
        (["show", "soft:port=nowhere"], 2, "legal: echo, discard, generate"),
        (["show", "soft:frobs=3"], 2, "keys: port, "),
        (["show", "soft:prot=echo"], 2, "; try: port=echo"),
        (["show", "soft:cpus=4095"], 2, "this process has CPUs 0"),
        (["show", "soft:pcap=/nonexistent/x"], 2, "mkdir -p /nonexistent"),
        (["show", "soft:pcap=/dev/full"], 4, "ENOSPC"),
        (["doctor", "soft:prot=echo"], 2, "; try: port=echo"),
        (["show", "soft:size=3"], 2, "a power of two"),
        (["show", "soft:queues=0"], 2, "1 to 128 queue pairs"),
        (["show", "0000:ff:1f.7"], 3, "no such PCI function"),
        (["demo", "0000:3b:00.2"], 2, "vfiodpa serve DEVICE"),
        (["demo", "--size", "59"], 2, "60 to 65535 bytes"),
        (["serve", "soft", "-s", "/nonexistent/s"], 2, "mkdir -p /nonexistent"),
        (["serve", "soft", "-s", "/dev/null"], 2, "exists and is not a socket"),
        (["serve", "soft", "-s", "/tmp/" + "x" * 120], 2, "path"),
    ],
)
def test_bad_input_is_one_line_on_stderr(cli: Cli, words: list[str], code: int, says: str) -> None:
    ran = cli(*words)
    assert (ran.code, ran.out) == (code, "")
    assert re.fullmatch(r"vfiodpa: .*\n", ran.err)
    assert says in ran.err


# Errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (VfiodpaError, 1),
        (StateError, 1),
        (UsageError, 2),
        (NoDevice, 3),
        (LimitError, 4),
        (ProtocolViolation, 5),
        (DeviceGone, 6),
        (Unsupported, 7),
        (KeyboardInterrupt, 130),
    ],
)
def test_each_error_has_its_exit_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: Callable[[str], BaseException], code: int
) -> None:
    def fail(*_: object, **_how: object) -> None:
        raise kind("it did not work")

    monkeypatch.setattr(show, "open_nic", fail)
    ran = cli("show", "soft")
    assert ran.code == code
    assert ran.err == ("" if code == ExitCode.INTERRUPTED else "vfiodpa: it did not work\n")


def test_an_error_says_what_where_why_and_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **_how: object) -> None:
        raise LimitError("cannot map", device="soft0", cause="ENOMEM: no memory", remedy="ulimit -l unlimited")

    monkeypatch.setattr(show, "open_nic", fail)
    assert cli("show", "soft").err == "vfiodpa: soft0: cannot map (ENOMEM: no memory); try: ulimit -l unlimited\n"
    ran = cli("show", "-j", "soft")
    assert (ran.code, ran.out) == (4, "")
    assert json.loads(ran.err) == {
        "schema": "vfiodpa.error/1",
        "error": "cannot map",
        "device": "soft0",
        "cause": "ENOMEM: no memory",
        "remedy": "ulimit -l unlimited",
        "exit_code": 4,
    }


def test_a_bug_is_not_dressed_up(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **_how: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(show, "open_nic", fail)
    with pytest.raises(ZeroDivisionError):
        cli("show", "soft")


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    with running("show", "-r", "soft") as process:
        process.out.close()
        assert process.wait() == 1
        assert process.err.read() == ""


@pytest.mark.parametrize("words", [["list"], ["demo", "-t", "0.1"], ["validate", "soft", "--clause", "RST-1"]])
def test_a_full_disk_under_the_output_is_no_traceback(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vfiodpa", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr.endswith(
        "vfiodpa: cannot write the output (ENOSPC: No space left on device); try: make room on the disk\n"
    )
    assert "Traceback" not in done.stderr


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vfiodpa", "--version"], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout[:8], done.stderr) == (0, "vfiodpa ", "")


# Streams and colours


def test_no_escape_codes_when_it_is_not_a_terminal(cli: Cli) -> None:
    for words in (["list"], ["show", "-r", "soft"], ["demo", "-t", "0.1"]):
        assert "\x1b" not in cli(*words).out


def test_colours_only_where_they_are_wanted() -> None:
    assert "\x1b[1m" in on_a_terminal("list").out
    assert "\x1b[" not in on_a_terminal("list", NO_COLOR="1").out


def test_vv_says_more_on_stderr_and_leaves_stdout_alone() -> None:
    with running("demo", "-j", "-t", "0.1") as quiet, running("demo", "-j", "-t", "0.1", "-vv") as chatty:
        silent, told = quiet.finish(), chatty.finish()
    assert silent.err == ""
    assert "vfiodpa.vdpa.datapath" in told.err
    assert told.json["schema"] == silent.json["schema"]


def test_the_parser_and_its_verbs_agree() -> None:
    parser = cli_main.build_parser()
    for verb, words in VERBS.items():
        assert callable(parser.parse_args([verb, *words]).run)
