"""Options that several verbs share."""

from __future__ import annotations

import argparse

from ..vfio.backend import IommuKind


def add_access(parser: argparse.ArgumentParser) -> None:
    """``--iommu``: how a PCI function is reached."""
    kinds = [kind.value for kind in IommuKind]
    text = "the kernel's way to the IOMMU, for PCI functions (default: auto, iommufd where it can be used)"
    parser.add_argument("--iommu", choices=kinds, default=IommuKind.AUTO.value, help=text)


def add_noiommu(parser: argparse.ArgumentParser) -> None:
    """``--unsafe-noiommu``: for verbs that look at registers and serve nobody."""
    text = "also without an IOMMU: registers only, nothing is mapped"
    parser.add_argument("--unsafe-noiommu", action="store_true", help=text)
