"""Mutants of the rings: variants of the C data path (2.7, 2.8)."""

from __future__ import annotations

from .mutant import Mutant

MUTANTS: tuple[Mutant, ...] = ()
