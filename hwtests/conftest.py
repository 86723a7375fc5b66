"""Options of every hardware test: which NIC, how to reach it, and what is at the other end of its wire."""

from __future__ import annotations

import pytest

from vfiodpa.vfio.backend import IommuKind


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("NIC under test")
    group.addoption("--device", default="soft:port=echo", help="PCI address or soft[:…] (default: %(default)s)")
    group.addoption("--iommu", choices=[kind.value for kind in IommuKind], default="auto", help="how VFIO is used")
    group.addoption("--peer", default="", help="a kernel network interface, or its PCI address, on the NIC's wire")
