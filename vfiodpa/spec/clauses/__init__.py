"""All that virtio demands of a device: basic facilities, administration, PCI transport, network device.

    CLAUSES["STS-1"].text

Ref: virtio 1.4 (errata: docs/reference/clauses.md). ``CHAPTERS`` are the groups of the command line.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import admin, basic, extra, net, pci
from .clause import VERSIONS, Block, Clause, Level, Takes

CHAPTERS: Mapping[str, tuple[Block, ...]] = {
    "basic": basic.BLOCKS,
    "admin": admin.BLOCKS,
    "pci": pci.BLOCKS,
    "net": net.BLOCKS,
    "extra": extra.BLOCKS,
}

CLAUSES: Mapping[str, Clause] = {
    clause.id: clause for blocks in CHAPTERS.values() for block in blocks for clause in block.clauses
}

__all__ = ["CHAPTERS", "CLAUSES", "VERSIONS", "Block", "Clause", "Level", "Takes", "chapter_of"]


def chapter_of(clause: Clause) -> str:
    """The group that a clause belongs to: basic, admin, pci, net or extra."""
    return next(name for name, blocks in CHAPTERS.items() if any(block.id == clause.block for block in blocks))
