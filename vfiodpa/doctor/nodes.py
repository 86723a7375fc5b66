"""Device nodes: /dev/vfio/vfio, groups, character devices, /dev/iommu."""

from __future__ import annotations

import os
from pathlib import Path

from ..pci.host import Host
from .check import Check, Level

_UDEV_RULE = 'or a udev rule: SUBSYSTEM=="vfio", GROUP="vfio", MODE="0660"'


def check_nodes(host: Host) -> list[Check]:
    """Those that are there must be ours to open; that one is missing is the business of other checks."""
    found = [check_node(path) for path in (host.dev / "vfio/vfio", host.dev / "iommu") if path.exists()]
    groups = _nodes(host, "vfio", digit=True) + _nodes(host, "vfio/devices", digit=False)
    if not groups:
        return [*found, Check("bound functions", Level.INFO, "none", "vfiodpa bind BDF")]
    return found + [check_node(path) for path in groups]


def check_node(path: Path) -> Check:
    """May this process open it for reading and writing?"""
    if os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return Check(str(path), Level.OK, "can be opened")
    return Check(str(path), Level.FAIL, "no permission", f"sudo chown $USER {path} ({_UDEV_RULE})")


def _nodes(host: Host, directory: str, *, digit: bool) -> list[Path]:
    top = host.dev / directory
    return [top / name for name in host.names(top) if (name.isdigit() if digit else name.startswith("vfio"))]
