"""Device configuration and interrupt status of the software NIC.

Ref: virtio 1.3, sections 5.1.4 (fields), 2.5 (generation) and 4.1.4.5 (ISR).
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import DriverBreach
from ..registers import RegisterBlock
from ..spec.features import Feature
from ..spec.virtio_net import DUPLEX_FULL, NetConfig, NetStatus
from ..spec.virtio_pci import IsrCfg, IsrStatus
from . import rules
from .settings import HASHES, MAX_INDIRECTION, MAX_KEY, TUNNELS

# A field exists when its feature is offered (5.1.4).
_NEEDS = {
    "mac": Feature.NET_MAC,
    "status": Feature.NET_STATUS,
    "max_virtqueue_pairs": Feature.NET_MQ | Feature.NET_RSS,
    "mtu": Feature.NET_MTU,
    "speed": Feature.NET_SPEED_DUPLEX,
    "duplex": Feature.NET_SPEED_DUPLEX,
    "rss_max_key_size": Feature.NET_RSS | Feature.NET_HASH_REPORT,
    "rss_max_indirection_table_length": Feature.NET_RSS,
    "supported_hash_types": Feature.NET_RSS | Feature.NET_HASH_REPORT,
    "supported_tunnel_types": Feature.NET_HASH_TUNNEL,
}
NET_CONFIG_LENGTH = NetConfig.size


class NetConfigModel:
    """``NetConfig`` of the software NIC (a ``Model``): fields and their generation."""

    block: type[RegisterBlock] = NetConfig
    read_only = rules.CONFIG_READ_ONLY

    def __init__(self, device: str, offered: Feature, mac: bytes, mtu: int, pairs: int = 1, speed: int = 0) -> None:
        self.device = device
        self.offered = offered
        self.mac = mac
        self.mtu = mtu
        self.pairs = pairs
        self.speed = speed  # Mbit/s
        self.status = NetStatus.LINK_UP
        self.generation = 0  # 8 bits

    def load(self, name: str, index: int) -> int:
        if not self.offered & _NEEDS.get(name, Feature(0)):
            raise self._absent(name)
        values = {
            "mac": self.mac[index],
            "status": int(self.status),
            "max_virtqueue_pairs": self.pairs,
            "mtu": self.mtu,
            "speed": self.speed,
            "duplex": DUPLEX_FULL,
            "rss_max_key_size": MAX_KEY,
            "rss_max_indirection_table_length": MAX_INDIRECTION,
            "supported_hash_types": int(HASHES),
            "supported_tunnel_types": int(TUNNELS),
        }
        return values[name]

    def store(self, name: str, _index: int, value: int) -> None:
        raise rules.CONFIG_READ_ONLY.breach(self.device, f"NetConfig.{name}", f"written ({value:#x})")

    def change(self, *, status: NetStatus | None = None, mtu: int | None = None, mac: bytes | None = None) -> None:
        """Change fields under a new generation (2.5.1)."""
        self.mac = self.mac if mac is None else mac
        self.status = self.status if status is None else status
        self.mtu = self.mtu if mtu is None else mtu
        self.generation = self.generation + 1 & 0xFF

    def _absent(self, name: str) -> DriverBreach:
        return rules.NO_FIELD.breach(self.device, f"NetConfig.{name}", "read, its feature is not offered")


class Isr:
    """``IsrCfg`` of the software NIC (a ``Model``): reading clears it."""

    block: type[RegisterBlock] = IsrCfg
    read_only = rules.READ_ONLY

    def __init__(self, look: Callable[[], None]) -> None:
        """``look`` adds what C found since the last time (it cannot set bits here itself)."""
        self._look = look
        self._pending = IsrStatus(0)

    def add(self, bits: IsrStatus) -> None:
        """Something happened; set before the notification is sent (4.1.4.5.1)."""
        self._pending |= bits

    @property
    def pending(self) -> IsrStatus:
        """What a read would return."""
        self._look()
        return self._pending

    def clear(self) -> None:
        """Nothing is pending any more."""
        self._pending = IsrStatus(0)

    def load(self, _name: str, _index: int) -> int:
        value = self.pending
        self.clear()
        return int(value)

    def store(self, name: str, _index: int, value: int) -> None:
        raise NotImplementedError(f"{name} = {value:#x}: the window refuses writes to read-only registers")
