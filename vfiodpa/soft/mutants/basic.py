"""Mutants of status, features, reset and configuration (chapter 2)."""

from __future__ import annotations

from .mutant import Mutant

MUTANTS: tuple[Mutant, ...] = ()
