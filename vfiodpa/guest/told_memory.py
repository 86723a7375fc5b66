"""What a back end was told of a guest's memory: a table of all of it, or region by region.

Ref: vhost-user, VHOST_USER_SET_MEM_TABLE, VHOST_USER_ADD_MEM_REG, VHOST_USER_REM_MEM_REG.
"""

from __future__ import annotations

from ..errors import StateError, UsageError
from ..spec.vhost_user import TABLE_SLOTS, MemRegion, MemTableHeader, Request, SingleRegion
from .channel import FrontendChannel
from .memory import GuestMemory, GuestRegion


class ToldMemory:
    """``slots``: CONFIGURE_MEM_SLOTS was negotiated. Memory and channel are borrowed."""

    def __init__(self, memory: GuestMemory, channel: FrontendChannel, slots: bool, name: str) -> None:
        self._memory, self._channel = memory, channel
        self._slots, self._name = slots, name
        self._regions: list[GuestRegion] = []

    def forget(self) -> None:
        """As if nothing had been told yet."""
        self._regions.clear()

    def send(self) -> None:
        """Tell all regions that the back end does not have yet."""
        if self._slots:
            for region in self._memory.regions:
                if region not in self._regions:
                    self._add(region)
        elif self._regions != self._memory.regions:
            self.send_table()

    def send_table(self) -> None:
        """SET_MEM_TABLE with all regions, replacing what the back end had."""
        regions = self._memory.regions
        if len(regions) > TABLE_SLOTS:
            raise UsageError(f"{len(regions)} regions, a memory table holds {TABLE_SLOTS}", device=self._name)
        body = MemTableHeader(count=len(regions)).pack() + b"".join(
            MemRegion(gpa=r.gpa, length=r.length, uaddr=r.uaddr).pack() for r in regions
        )
        self._channel.command(Request.SET_MEM_TABLE, body, [r.mapping.fd for r in regions])
        self._regions = list(regions)

    def remove(self, region: GuestRegion) -> None:
        """Before it goes. Raises ``StateError`` without CONFIGURE_MEM_SLOTS."""
        if not self._slots:
            raise StateError("without CONFIGURE_MEM_SLOTS memory cannot be unplugged", device=self._name)
        payload = SingleRegion(gpa=region.gpa, length=region.length, uaddr=region.uaddr)
        self._channel.command(Request.REM_MEM_REG, payload)
        self._regions.remove(region)

    def _add(self, region: GuestRegion) -> None:
        payload = SingleRegion(gpa=region.gpa, length=region.length, uaddr=region.uaddr)
        self._channel.command(Request.ADD_MEM_REG, payload, [region.mapping.fd])
        self._regions.append(region)
