"""A device's vendor registers, as its quirk record describes them."""

from __future__ import annotations

from ..errors import Unsupported, UsageError
from ..pci.function import IovaRange, PciFunction
from ..registers import RegisterBlock
from .device import QueueState
from .quirks import Quirks, VendorRegister
from .transport import CheckedWindow


class Vendor:
    """What a quirk record adds to one function. Raises ``Unsupported`` for what it does not add."""

    def __init__(self, function: PciFunction, quirks: Quirks) -> None:
        self.function = function
        self.quirks = quirks

    @property
    def blocks(self) -> dict[str, RegisterBlock]:
        """The vendor's register blocks by name."""
        return {name: kind(self._window(bar)) for bar, (name, kind) in self.quirks.blocks.items()}

    def write_state(self, queue: int, state: QueueState, first: QueueState) -> None:
        """Where the queue starts (``first``: it was never used); to be called before it is enabled."""
        rule = self.quirks.ring_state
        if rule and (rule.always or state != first):
            self._write(rule.where(queue), rule.encode(state))

    def read_state(self, queue: int) -> QueueState | None:
        """Where the queue stopped, by the record's index rule; ``None`` when nobody knows."""
        rule = self.quirks.ring_state
        return rule.decode(self._read(rule.where(queue))) if rule else None

    def set_active_pairs(self, pairs: int) -> None:
        """Spread received frames over ``pairs`` queue pairs."""
        if not self.quirks.active_pairs:
            raise Unsupported("the device has no register for the active pairs", device=self.function.name)
        self._write(self.quirks.active_pairs, pairs)

    def announce(self, mac: bytes) -> None:
        """Send a RARP for ``mac``."""
        if len(mac) != 6:
            raise UsageError(f"a MAC address has 6 bytes, not {len(mac)}", device=self.function.name)
        if not self.quirks.announce:
            raise Unsupported("the device cannot send a RARP for the guest", device=self.function.name)
        self.quirks.announce(self.function, mac)

    def log_dirty(self, where: IovaRange | None) -> None:
        """Log what the device writes to a bitmap there; ``None`` stops."""
        if not self.quirks.dirty_log:
            raise Unsupported("the device keeps no dirty log", device=self.function.name)
        self.quirks.dirty_log(self.function, where)

    def _read(self, where: VendorRegister) -> int:
        return self._window(where.bar).read(where.offset, where.width)

    def _write(self, where: VendorRegister, value: int) -> None:
        self._window(where.bar).write(where.offset, where.width, value)

    def _window(self, bar: int) -> CheckedWindow:
        return CheckedWindow(self.function.bar(bar), self.function)
