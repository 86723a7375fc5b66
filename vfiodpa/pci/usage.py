"""What this machine itself uses a PCI function for: reasons never to take it away.

What is in another network or mount namespace cannot be seen from here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .device import PciDevice
from .host import Host

_RTF_UP, _RTF_REJECT = 0x1, 0x200  # Linux uapi linux/route.h
_ALL_ZERO_6 = "0" * 32


def in_use(host: Host, device: PciDevice) -> list[str]:
    """Why the function must stay with its driver, each a phrase: "carries the default route (eth0)"."""
    reasons = _routes(host, device) + _mounts(host, device)
    if device.virtual_functions and not device.on_vfio:
        reasons.append(f"has {len(device.virtual_functions)} virtual functions, which vanish with its driver")
    return reasons


def _routes(host: Host, device: PciDevice) -> list[str]:
    routed = default_route_interfaces(host)
    carrying = sorted(name for name in routed if set(device.interfaces) & _with_lower(host, name))
    return [f"carries the default route ({', '.join(carrying)})"] if carrying else []


def default_route_interfaces(host: Host) -> set[str]:
    """Interfaces that IPv4 or IPv6 default routes lead to."""
    found: set[str] = set()
    for words in host.lines(host.proc / "net/route"):
        # Iface Destination Gateway Flags RefCnt Use Metric Mask ...
        if len(words) >= 8 and words[1] == words[7] == "00000000" and _is_live(words[3]):
            found.add(words[0])
    for words in host.lines(host.proc / "net/ipv6_route"):
        # destination prefix-length source prefix-length next-hop metric refs uses flags interface
        if len(words) >= 10 and words[0] == _ALL_ZERO_6 and words[1] == "00" and _is_live(words[8]):
            found.add(words[9])
    return found - {"lo"}


def _is_live(flags: str) -> bool:
    return int(flags, 16) & (_RTF_UP | _RTF_REJECT) == _RTF_UP


def _with_lower(host: Host, name: str) -> set[str]:
    """An interface and all those under it: ports of a bridge or bond, the one that a VLAN is on."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            entries = host.names(host.sysfs / "class/net" / one)
            waiting += [entry.removeprefix("lower_") for entry in entries if entry.startswith("lower_")]
    return found


@dataclass(frozen=True, slots=True)
class _Mount:
    number: str  # major:minor
    point: str
    kind: str
    source: str


def _mounts(host: Host, device: PciDevice) -> list[str]:
    mounts = _read_mounts(host)
    swaps = {words[0] for words in host.lines(host.proc / "swaps") if words}
    path = host.device(device.address).resolve()
    reasons: list[str] = []
    for name in _blocks(host, path):
        number, source = host.text(host.sysfs / "class/block" / name / "dev"), f"/dev/{name}"
        reasons += [f"holds {m.point} ({name})" for m in mounts if m.number == number or m.source == source]
        reasons += [f"holds swap space ({name})" for _ in {source} & swaps]
    for tag in {host.text(file).rstrip("\0") for file in path.glob("*/mount_tag")}:  # virtio 9p
        reasons += [f"holds {m.point} (9p {tag})" for m in mounts if m.kind == "9p" and m.source == tag]
    return list(dict.fromkeys(reasons))


def _read_mounts(host: Host) -> list[_Mount]:
    found = []
    for words in host.lines(host.proc / "self/mountinfo"):
        # id parent major:minor root mount-point options [optional fields] - type source options
        if "-" in words[6:]:
            dash = words.index("-", 6)
            kind, source = (*words[dash + 1 : dash + 3], "", "")[:2]
            found.append(_Mount(words[2], words[4], kind, source))
    return found


def _blocks(host: Host, path: Path) -> list[str]:
    """Block devices on a function, their partitions, and what is built on them (LVM, RAID, LUKS)."""
    blocks = host.sysfs / "class/block"
    found = [name for name in host.names(blocks) if (blocks / name).resolve().is_relative_to(path)]
    for name in found:  # grows while it is walked
        found += [holder for holder in host.names(blocks / name / "holders") if holder not in found]
    return found


@dataclass(frozen=True, slots=True)
class User:
    """A process that has a device open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name or '?'} (pid {self.pid})"


def vfio_users(host: Host, device: PciDevice) -> list[User]:
    """Processes that have the function's VFIO nodes open; only root sees those of others."""
    return users_of(host, host.dev / "vfio" / device.group_node, host.dev / "vfio/devices" / device.vfio_device)


def users_of(host: Host, *paths: Path) -> list[User]:
    """Processes that have one of the files open, by pid; only root sees those of others."""
    nodes = {str(path) for path in paths}
    found = []
    for pid in (name for name in host.names(host.proc) if name.isdigit()):
        fds = host.proc / pid / "fd"
        if any(_target(fds / fd) in nodes for fd in host.names(fds)):
            found.append(User(int(pid), host.text(host.proc / pid / "comm")))
    return sorted(found, key=lambda user: user.pid)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115  a string is all that is wanted
    except OSError:
        return ""
