"""Mutants of the network device (5.1)."""

from __future__ import annotations

from . import control, frames, steering
from .mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (*control.MUTANTS, *frames.MUTANTS, *steering.MUTANTS)
