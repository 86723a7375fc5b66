"""What stands in front of a function's registers: is it open, is it there, does its memory answer?"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DriverBreach
from ..registers import Window
from ..spec.pci import Command
from . import rules

if TYPE_CHECKING:
    from .function import SoftFunction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GuardedWindow:
    """A window of a function: one access at a time, none after close, all ones once it is unplugged."""

    function: SoftFunction
    inner: Window
    name: str
    memory: bool  # answers only while Memory Space is enabled

    @property
    def length(self) -> int:
        """Bytes of the window."""
        return self.inner.length

    def read(self, offset: int, width: int) -> int:
        with self.function.lock:
            if not self._open(offset, width, "read"):
                return (1 << width) - 1
            try:
                return self.inner.read(offset, width)
            except DriverBreach as breach:
                self._forgive(breach)
                return 0

    def write(self, offset: int, width: int, value: int) -> None:
        with self.function.lock:
            try:
                if self._open(offset, width, "write"):
                    self.inner.write(offset, width, value)
            except DriverBreach as breach:
                self._forgive(breach)

    def _forgive(self, breach: DriverBreach) -> None:
        """Raise it again, unless the NIC is to put up with whatever a driver does (``strict=off``)."""
        if self.function.options.strict:
            raise breach
        log.debug("%s", breach)

    def _open(self, offset: int, width: int, verb: str) -> bool:
        function = self.function
        function.check_open()
        if function.gone:
            return False
        if self.memory and not function.command & Command.MEMORY:
            raise rules.MEMORY_OFF.breach(function.name, f"{self.name}+{offset:#x}", f"{width}-bit {verb}")
        return True
