"""Mutants of the device configuration of a network device (5.1.4)."""

from __future__ import annotations

from ...spec.features import Feature
from .mutant import Mutant

F = Feature
CONTROL = (
    F.NET_CTRL_VQ
    | F.NET_CTRL_RX
    | F.NET_CTRL_VLAN
    | F.NET_CTRL_MAC_ADDR
    | F.NET_GUEST_ANNOUNCE
    | F.NET_MQ
    | F.NET_RSS
    | F.NET_NOTF_COAL
    | F.NET_VQ_NOTF_COAL
)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "N-CFG-1",
        "max_virtqueue_pairs is 0",
        options="queues=2",
        reads={"NetConfig.max_virtqueue_pairs": lambda _nic, _value: 0},
    ),
    Mutant("N-CFG-2", "mtu is 60", also=("N-CFG-3", "N-CFG-5"), reads={"NetConfig.mtu": lambda _nic, _value: 60}),
    Mutant("N-CFG-3", "mtu is 1000", also=("N-CFG-5",), reads={"NetConfig.mtu": lambda _nic, _value: 1000}),
    Mutant(
        "N-CFG-4",
        "mtu is another one while the device runs",
        also=("N-CFG-5",),
        reads={"NetConfig.mtu": lambda nic, value: value + nic.running},
    ),
    Mutant("N-CFG-7", "rss_max_key_size is 39", reads={"NetConfig.rss_max_key_size": lambda _nic, _value: 39}),
    Mutant(
        "N-CFG-8",
        "rss_max_indirection_table_length is 64",
        reads={"NetConfig.rss_max_indirection_table_length": lambda _nic, _value: 64},
    ),
    Mutant("N-CFG-10", "speed is 0x80000000", reads={"NetConfig.speed": lambda _nic, _value: 1 << 31}),
    Mutant("N-CFG-11", "duplex is 2", reads={"NetConfig.duplex": lambda _nic, _value: 2}),
    Mutant(
        "N-CFG-12",
        "speed follows the traffic",
        reads={"NetConfig.speed": lambda nic, value: value + nic.engine.queue_stats(1)["packets"]},
    ),
    Mutant(
        "N-CFG-13",
        "HASH_REPORT is offered without CTRL_VQ",
        features=lambda offered: offered & ~int(CONTROL | F.NET_CTRL_RX_EXTRA),
    ),
    Mutant(
        "N-CFG-14",
        "CTRL_RX_EXTRA is offered without CTRL_VQ",
        features=lambda offered: offered & ~int(CONTROL | F.NET_HASH_REPORT),
    ),
)
