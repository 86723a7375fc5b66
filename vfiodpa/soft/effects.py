"""What the driver's commands do to the NIC (``Effects``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._native import ffi, lib
from ..spec.features import Feature
from ..spec.virtio_flow_filter import FfHeader
from ..spec.virtio_net import NetStatus, RxCommand
from .engine import Engine
from .flow_filter import Match
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

    def set_flow_rules(self, rules: Sequence[Match]) -> None:
        native = ffi.new("struct vdp_flow_rules *")
        native.count = len(rules)
        for at, rule in enumerate(rules):
            _fill(native.rule[at], rule)
        self._engine.set_flow_rules(native)

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


# Of each header: where it lies in a key of csrc/flow_rules.h, and which field says that it has to be there.
_PLACES = {
    FfHeader.ETH: (0, "", 0),
    FfHeader.IPV4: (lib.VDP_FLOW_NETWORK, "network", 4),
    FfHeader.IPV6: (lib.VDP_FLOW_NETWORK, "network", 6),
    FfHeader.TCP: (lib.VDP_FLOW_TRANSPORT, "transport", 6),
    FfHeader.UDP: (lib.VDP_FLOW_TRANSPORT, "transport", 17),
}


def _fill(native: Any, rule: Match) -> None:
    """A ``struct vdp_flow_rule``."""
    for selector, key in zip(rule.selectors, rule.keys, strict=True):
        at, field, value = _PLACES[FfHeader(selector.type)]
        end = at + len(selector.mask)
        native.mask[at:end] = list(selector.mask)
        native.key[at:end] = [bits & mask for bits, mask in zip(key, selector.mask, strict=True)]
        if field:
            setattr(native, field, value)
    native.action = lib.VDP_FLOW_DROP if rule.pair is None else lib.VDP_FLOW_DIRECT
    native.pair = rule.pair or 0
