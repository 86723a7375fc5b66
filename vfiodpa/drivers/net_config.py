"""Reading the network device's configuration.

Ref: virtio 1.3, 2.5.3 and 5.1.4.
"""

from __future__ import annotations

from ..errors import DeviceError, StateError
from ..registers import AnyRegister, Window
from ..spec.features import Feature, names
from ..spec.virtio_net import NetConfig
from ..spec.virtio_pci import CommonCfg

F = Feature

# A field exists when one of its features is offered (5.1.4).
FIELD_FEATURES = {
    NetConfig.mac.name: F.NET_MAC,
    NetConfig.status.name: F.NET_STATUS,
    NetConfig.max_virtqueue_pairs.name: F.NET_MQ | F.NET_RSS,
    NetConfig.mtu.name: F.NET_MTU,
    NetConfig.speed.name: F.NET_SPEED_DUPLEX,
    NetConfig.duplex.name: F.NET_SPEED_DUPLEX,
    NetConfig.rss_max_key_size.name: F.NET_RSS | F.NET_HASH_REPORT,
    NetConfig.rss_max_indirection_table_length.name: F.NET_RSS,
    NetConfig.supported_hash_types.name: F.NET_RSS | F.NET_HASH_REPORT,
    NetConfig.supported_tunnel_types.name: F.NET_HASH_TUNNEL,
}


def _needs(register: AnyRegister) -> Feature:
    field, _, _ = register.name.partition("[")  # an element of an array has its index in its name
    return FIELD_FEATURES[field]


class OfferedConfig(NetConfig, size=NetConfig.size, ref=NetConfig.ref):
    """The configuration as this device has it: a field whose feature is not offered is not there (2.5.2)."""

    def __init__(self, window: Window, offered: Feature) -> None:
        super().__init__(window)
        self.offered = offered

    def has(self, register: AnyRegister) -> bool:
        """Is the field inside the structure, and its feature offered?"""
        return super().has(register) and bool(_needs(register) & self.offered)

    def window_for(self, register: AnyRegister) -> Window:
        """Raises ``StateError`` for a field that is not there."""
        needs = _needs(register)
        if not needs & self.offered:
            raise StateError(f"there is no {register.name}: the device does not offer {' or '.join(names(needs))}")
        return super().window_for(register)


def read_config(common: CommonCfg, config: NetConfig, attempts: int, device: str) -> dict[str, int | list[int]]:
    """The fields under one configuration generation; raises ``DeviceError`` when it never rests."""
    for _ in range(attempts):
        before = common.config_generation
        fields = config.dump()
        if common.config_generation == before:  # 2.5.3: fields of two generations must not be mixed
            return fields
    raise DeviceError(f"the configuration changed during {attempts} readings in a row", device=device)
