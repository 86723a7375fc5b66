"""Completion at the prompt that never reads a register: reading may change it."""

from __future__ import annotations

import re
import rlcompleter
from typing import Any

from ..registers import RegisterBlock

_PATH = re.compile(r"(\w+(?:\.\w+)*)\.(\w*)")


class Completer(rlcompleter.Completer):
    """As Python's own, but a register block's registers are looked up in its table."""

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__(names)
        self._names = names

    def attr_matches(self, text: str) -> list[str]:
        """Completions of ``a.b.c``."""
        match = _PATH.fullmatch(text)
        if match is None:
            return list(super().attr_matches(text))
        path, start = match.groups()
        thing = self._names.get(path.partition(".")[0])
        for name in path.split(".")[1:]:
            if isinstance(thing, RegisterBlock):
                return []  # the next step would read the register
            thing = getattr(thing, name, None)
        if isinstance(thing, RegisterBlock):
            names = [register.name for register in thing.registers()] + ["dump("]
            return [f"{path}.{name}" for name in names if name.startswith(start)]
        return list(super().attr_matches(text))
