"""Bench files: a lab's devices by name, who is at the other end of their wires, and commands for events from outside.

    [devices.card]
    device = "0000:3b:00.2"
    wire = "soft:link=w0"
    profile = "1.2"

    [devices.card.hooks]
    link_down = "ip link set ens5f1 down"
    link_up = "ip link set ens5f1 up"
    mtu = "ip link set ens5f1 mtu {mtu}"

The manner is that of labgrid's environments. Every key stands in ``DEVICE_KEYS`` or ``HOOK_KEYS``; others are errors.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError, VfiodpaError, errno_name
from .hooks import NO_HOOKS, Hooks
from .profiles import PROFILES

HOOK_TIMEOUT_S = 30.0

DEVICE_KEYS: Mapping[str, tuple[type, str]] = {
    "device": (str, "PCI address or soft[:...]; required"),
    "wire": (str, "who is at the other end: a network interface of this machine"),
    "packed": (bool, "packed rings where a check leaves it open"),
    "profile": (str, f"which clauses apply: {', '.join(PROFILES)}"),
    "hook_timeout": (float, f"seconds that a command may take, default {HOOK_TIMEOUT_S:g}"),
    "hooks": (dict, "the commands below"),
}
HOOK_KEYS: Mapping[str, str] = {
    "link_down": "take the link down; with link_up",
    "link_up": "and up again",
    "mtu": "set the MTU to {mtu} bytes",
    "announce": "have the device ask for gratuitous packets",
    "fault": "make the firmware fail",
    "busy": "have the next administration command answered EAGAIN or ENOMEM",
    "reset_power": "power off and on: for a device that does not come back",
}


@dataclass(frozen=True, slots=True)
class BenchDevice:
    """One device of a lab."""

    name: str
    device: str
    wire: str = ""
    packed: bool = False
    profile: str = ""
    hooks: Hooks = NO_HOOKS


def load_bench(path: Path) -> dict[str, BenchDevice]:
    """Read a bench file. Raises ``UsageError`` with the line of what is wrong."""
    try:
        text = path.read_text()
        data = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {path}", cause=errno_name(error.errno or 0)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML", cause=str(error)) from error
    reader = _Reader(path, text)
    reader.known(data, {"devices"}, ())
    devices = reader.table(data, "devices", ())
    return {name: reader.device(name, devices) for name in devices}


def find_device(devices: Mapping[str, BenchDevice], name: str, path: Path) -> BenchDevice:
    """The device of a name. Raises ``UsageError`` that says which there are."""
    if name not in devices:
        raise UsageError(f"{path} has no device {name!r}", cause=f"it has {', '.join(devices) or 'none'}")
    return devices[name]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks tables, and finds the lines of what is wrong in them."""

    path: Path
    text: str

    def device(self, name: str, devices: Mapping[str, Any]) -> BenchDevice:
        at = ("devices", name)
        table = self.table(devices, name, at[:1])
        self.known(table, DEVICE_KEYS, at)
        for key, (kind, _) in DEVICE_KEYS.items():
            if key in table and not _is(table[key], kind):
                raise self.wrong(f"{key} must be {_KINDS[kind]}, not {table[key]!r}", at, key)
        if not table.get("device"):
            raise self.wrong(f"[devices.{name}] says not which device", at, "", 'device = "0000:3b:00.2"')
        if table.get("profile", PROFILES[0]) not in PROFILES:
            raise self.wrong(f"there is no profile {table['profile']}", at, "profile", ", ".join(PROFILES))
        timeout = float(table.get("hook_timeout", HOOK_TIMEOUT_S))
        return BenchDevice(
            name,
            table["device"],
            table.get("wire", ""),
            table.get("packed", False),
            table.get("profile", ""),
            self.hooks(table.get("hooks", {}), (*at, "hooks"), timeout),
        )

    def hooks(self, table: Mapping[str, Any], at: tuple[str, ...], timeout: float) -> Hooks:
        self.known(table, HOOK_KEYS, at)
        commands = {key: self.command(key, table[key], at, timeout) for key in table}
        if ("link_down" in commands) != ("link_up" in commands):
            raise self.wrong("link_down and link_up go together", at, next(key for key in table if "link" in key))
        return Hooks(
            link=_link(commands) if "link_up" in commands else None,
            mtu=_mtu(commands["mtu"]) if "mtu" in commands else None,
            announce=commands.get("announce"),
            fault=commands.get("fault"),
            busy=commands.get("busy"),
            power=commands.get("reset_power"),
        )

    def command(self, key: str, value: Any, at: tuple[str, ...], timeout: float) -> Command:
        words = value if isinstance(value, list) else None
        if isinstance(value, str):
            try:
                words = shlex.split(value)
            except ValueError as error:
                raise self.wrong(f"{key}: {error}", at, key) from error
        if not words or not all(isinstance(word, str) for word in words):
            raise self.wrong(f"{key} must be a command, a string or a list of strings", at, key)
        return Command(key, tuple(words), timeout)

    def table(self, data: Mapping[str, Any], key: str, at: tuple[str, ...]) -> Mapping[str, Any]:
        value = data.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(f"{'.'.join((*at, key))} must be a table", at, key)
        return value

    def known(self, table: Mapping[str, Any], keys: Mapping[str, object] | set[str], at: tuple[str, ...]) -> None:
        for key in table:
            if key not in keys:
                where = f"[{'.'.join(at)}]" if at else "the file"
                raise self.wrong(f"{where} has no key {key!r}", at, key, f"one of {', '.join(sorted(keys))}")

    def wrong(self, what: str, at: tuple[str, ...], key: str, remedy: str = "") -> UsageError:
        number, line = self.line(at, key)
        return UsageError(what, device=f"{self.path}:{number}", cause=line.strip(), remedy=remedy)

    def line(self, at: tuple[str, ...], key: str) -> tuple[int, str]:
        """Where a key of a table is set, or its table begins: best effort, for inline tables their line."""
        table: tuple[str, ...] = ()
        found = 0, ""
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := re.match(r"\s*\[\[?([^\]]+)\]", line):
                table = tuple(part.strip().strip("\"'") for part in header[1].split("."))
                if table in (at, (*at, key)):
                    found = number, line
            elif key and at[: len(table)] == table and re.search(rf"(?<![\w-])[\"']?{re.escape(key)}[\"']?\s*=", line):
                return number, line
        return found if found[0] else (1, self.text.partition("\n")[0])


_KINDS: Mapping[type, str] = {str: "a string", bool: "true or false", float: "a number", dict: "a table"}


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return type(value) is kind


@dataclass(frozen=True, slots=True)
class Command:
    """A hook that is a command; no shell is between."""

    name: str
    words: tuple[str, ...]
    timeout: float

    def __call__(self, **values: object) -> None:
        """Run it, ``{name}`` replaced by values. Raises ``VfiodpaError`` when it fails or takes too long."""
        words = [_filled(word, values) for word in self.words]
        shown = shlex.join(words)
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=self.timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise VfiodpaError(f"hook {self.name}: no end within {self.timeout:g} s", cause=shown) from error
        except OSError as error:
            raise VfiodpaError(f"hook {self.name}: {errno_name(error.errno or 0)}", cause=shown) from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            cause = f"{shown}: exit status {done.returncode}{f': {said[0]}' if said else ''}"
            raise VfiodpaError(f"hook {self.name} failed", cause=cause)


def _filled(word: str, values: Mapping[str, object]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", str(value))
    return word


def _link(commands: Mapping[str, Command]) -> Callable[[bool], None]:
    return lambda up: commands["link_up" if up else "link_down"]()


def _mtu(command: Command) -> Callable[[int], None]:
    return lambda mtu: command(mtu=mtu)
