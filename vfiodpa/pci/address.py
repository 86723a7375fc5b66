"""PCI addresses: ``domain:bus:device.function`` in hexadecimal."""

from __future__ import annotations

import re

from ..errors import UsageError

# A domain has more than four digits behind controllers that make one of their own (VMD).
ADDRESS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f]\.[0-7])", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Could ``text`` be a PCI address, with or without its domain?"""
    return ADDRESS.fullmatch(text) is not None


def normalise(text: str) -> str:
    """``'3B:00.2'`` -> ``'0000:3b:00.2'``, as sysfs spells it. Raises ``UsageError`` for anything else."""
    match = ADDRESS.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no PCI address", cause="one looks like 0000:3b:00.2 or 3b:00.2")
    domain, bus, rest = match.groups()
    return f"{domain or '0000'}:{bus}:{rest}".lower()
