"""Reading the network device's configuration.

Ref: virtio 1.3, 2.5.3 and 5.1.4.
"""

from __future__ import annotations

from ..errors import DeviceError
from ..registers import BoundArray, RegisterArray
from ..spec.features import Feature
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


def read_once(config: NetConfig, offered: Feature) -> dict[str, int | list[int]]:
    """Every field that exists, by name."""
    fields: dict[str, int | list[int]] = {}
    for register in config.registers():
        if FIELD_FEATURES[register.name] & offered:
            if isinstance(register, RegisterArray):
                fields[register.name] = list(BoundArray(register, config))
            else:
                fields[register.name] = register.load(config)
    return fields


def read_config(
    common: CommonCfg, config: NetConfig, offered: Feature, attempts: int, device: str
) -> dict[str, int | list[int]]:
    """The fields under one configuration generation; raises ``DeviceError`` when it never rests."""
    for _ in range(attempts):
        before = common.config_generation
        fields = read_once(config, offered)
        if common.config_generation == before:  # 2.5.3: fields of two generations must not be mixed
            return fields
    raise DeviceError(f"the configuration changed during {attempts} readings in a row", device=device)
