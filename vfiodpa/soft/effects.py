"""What the driver's commands do to the NIC (``Effects``)."""

from __future__ import annotations

from collections.abc import Mapping

from .._native import ffi
from ..spec.features import Feature
from ..spec.virtio_net import NetStatus, RxCommand
from .engine import Engine
from .netconfig import NetConfigModel
from .settings import Moderation, NetState, Rss
from .state import CommonState


class NicEffects:
    """On the data path and the configuration space of one NIC."""

    def __init__(self, engine: Engine, net: NetConfigModel, common: CommonState) -> None:
        self._engine = engine
        self._net = net
        self._common = common

    def set_mac(self, mac: bytes) -> None:
        self._net.change(mac=mac)

    def set_pairs(self, pairs: int) -> None:
        self._engine.set_active_pairs(pairs)

    def set_filter(self, state: NetState) -> None:
        native = ffi.new("struct vdp_filter *")
        native.addresses = state.filtering
        native.vlans = bool(state.features & Feature.NET_CTRL_VLAN)
        for mode in RxCommand:
            setattr(native, mode.name.lower(), state.modes.get(mode, False))
        native.mac = list(self._net.mac)
        native.unicast, native.multicast = len(state.unicast), len(state.multicast)
        table = b"".join((*state.unicast, *state.multicast))
        native.table[0 : len(table)] = list(table)
        for vlan in state.vlans:
            native.vlan[vlan // 8] |= 1 << vlan % 8
        self._engine.set_filter(native)

    def set_rss(self, rss: Rss) -> None:
        native = ffi.new("struct vdp_rss *")
        native.steer, native.types, native.tunnels = bool(rss.table), int(rss.types), int(rss.tunnels)
        native.mask, native.unclassified = max(len(rss.table) - 1, 0), rss.unclassified
        native.table[0 : len(rss.table)] = list(rss.table)
        native.key[0 : len(rss.key)] = list(rss.key)
        self._engine.set_rss(native)

    def set_guest_offloads(self, offloads: Feature) -> None:
        self._engine.set_guest_offloads(offloads)

    def set_moderation(self, queue: int, moderation: Moderation) -> None:
        self._engine.set_moderation(queue, moderation.max_packets, moderation.max_usecs)

    def announced(self) -> None:
        self._net.change(status=self._net.status & ~NetStatus.ANNOUNCE)

    def is_enabled(self, queue: int) -> bool:
        return queue < self._engine.queues and self._common.queues[queue].enabled

    def counters(self, queue: int) -> Mapping[str, int] | None:
        return self._engine.queue_stats(queue) if queue < self._engine.queues else None
