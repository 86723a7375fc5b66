"""Clauses that have no check, and why. A test holds this and the checks against the clause table."""

from __future__ import annotations

UNCHECKED: dict[str, str] = {}
