"""Mutants of the PCI transport (4.1)."""

from __future__ import annotations

from .mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "P-COM-14",
        "queue_size of a queue that is not there reads 1",
        reads={"CommonCfg.queue_size": lambda nic, value: value if nic.state.queue else 1},
    ),
)
