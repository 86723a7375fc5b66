"""Clauses that have no check, and why. A test holds this and the checks against the clause table."""

from __future__ import annotations

UNCHECKED: dict[str, str] = {
    # Virtqueues
    "USD-3": "a permission: no device can break it (USD-2 notes what it does)",
    "ANS-2": "a permission: no device can break it (ANS-1 notes what it does)",
    "PKV-3": "a permission, and a driver that looks at slots in their order cannot tell",
    "X-13": "a permission: no device can break it (ANS-5 notes what it does)",
}
