"""NICs that break exactly one clause: what makes the conformance suite believable.

    soft:mutant=P-COM-8

A mutant is a layer over the register model, a change of its data, or a variant of the C data path; the NIC itself
does not know of them. Each chapter's mutants are a table in a module of its own.
"""

from __future__ import annotations

from functools import cache

from ...errors import UsageError
from . import admin, basic, flow_filter, net, net_config, objects, pci, pci_registers, rings, suspend
from .mutant import Mutant, MutantWindow

__all__ = ["Mutant", "MutantWindow", "all_mutants", "mutant_of"]


@cache
def all_mutants() -> dict[str, Mutant]:
    """Every mutant by the clause that it breaks."""
    return {
        mutant.clause: mutant
        for table in (basic, admin, objects, pci, pci_registers, net, flow_filter, net_config, rings, suspend)
        for mutant in table.MUTANTS
    }


def mutant_of(clause: str) -> Mutant:
    """The mutant of a clause. Raises ``UsageError``."""
    found = all_mutants().get(clause.upper())
    if found is None:
        raise UsageError(f"there is no mutant of {clause}", remedy="vfiodpa validate --list")
    return found
