"""What the software NIC's control queue understands: one table of commands.

Ref: virtio 1.3, 5.1.6.5. A command that is not in the table, whose feature was not negotiated or whose
data makes no sense is answered with VIRTIO_NET_ERR and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..spec.features import Feature
from ..spec.virtio_net import (
    AnnounceCommand,
    CoalescingCommand,
    CtrlClass,
    GuestOffloadsCommand,
    HashTunnelCommand,
    MacCommand,
    MqCommand,
    RssContextCommand,
    RxCommand,
    StatsCommand,
    VlanCommand,
    VqPairs,
    offloads_of,
)
from . import coalescing, device_stats, rss
from .settings import GUEST_OFFLOADS, NetState, Refused

F = Feature

MAC_BYTES = 6
MAX_TABLE = 512  # addresses of both tables together (VDP_FILTER_MACS)
MAX_VLAN = 4095


@dataclass(frozen=True, slots=True)
class Command:
    """``needs``: any of these features brings it; ``run`` returns what follows the ack, raises ``Refused``."""

    needs: Feature
    run: Callable[[NetState, bytes], bytes]


def _rx(mode: RxCommand) -> Callable[[NetState, bytes], bytes]:
    def run(state: NetState, data: bytes) -> bytes:
        if data not in (b"\0", b"\1"):
            raise Refused(f"{mode.name} takes one byte, 0 or 1")
        state.modes[mode] = data == b"\1"
        state.filtering = True
        state.effects.set_filter(state)
        return b""

    return run


def _set_table(state: NetState, data: bytes) -> bytes:
    unicast, rest = _table(data)
    multicast, rest = _table(rest)
    if rest or len(unicast) + len(multicast) > MAX_TABLE:
        raise Refused(f"{len(rest)} bytes too many" if rest else f"more than {MAX_TABLE} addresses")
    state.unicast, state.multicast = unicast, multicast
    state.filtering = True
    state.effects.set_filter(state)
    return b""


def _table(data: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """A le32 count, so many addresses, and the bytes behind them."""
    end = 4 + MAC_BYTES * int.from_bytes(data[:4], "little")
    if len(data) < 4 or end > len(data):
        raise Refused("a table is cut off")
    return tuple(data[at : at + MAC_BYTES] for at in range(4, end, MAC_BYTES)), data[end:]


def _set_address(state: NetState, data: bytes) -> bytes:
    if len(data) != MAC_BYTES:
        raise Refused(f"an address has {MAC_BYTES} bytes, not {len(data)}")
    state.effects.set_mac(data)
    state.effects.set_filter(state)
    return b""


def _vlan(data: bytes) -> int:
    vlan = int.from_bytes(data, "little")
    if len(data) != 2 or vlan > MAX_VLAN:
        raise Refused(f"no VLAN: {data.hex()}")
    return vlan


def _add_vlan(state: NetState, data: bytes) -> bytes:
    state.vlans.add(_vlan(data))
    state.effects.set_filter(state)
    return b""


def _delete_vlan(state: NetState, data: bytes) -> bytes:
    state.vlans.discard(_vlan(data))
    state.effects.set_filter(state)
    return b""


def _acknowledge(state: NetState, data: bytes) -> bytes:
    if data:
        raise Refused(f"ANNOUNCE_ACK has no data, here are {len(data)} bytes")
    state.effects.announced()
    return b""


def _set_pairs(state: NetState, data: bytes) -> bytes:
    if len(data) != VqPairs.size:
        raise Refused(f"virtqueue_pairs has {VqPairs.size} bytes, not {len(data)}")
    pairs = VqPairs.unpack(data).virtqueue_pairs
    if not 1 <= pairs <= state.max_pairs:
        raise Refused(f"{pairs} queue pairs, there are 1 to {state.max_pairs}")
    if state.contexts:
        raise Refused("VQ_PAIRS_SET while there are RSS contexts")  # 1.4, 5.1.6.5.8: drivers must not
    rss.steer_automatically(state)
    state.effects.set_pairs(pairs)
    return b""


def _set_guest_offloads(state: NetState, data: bytes) -> bytes:
    offloads = offloads_of(int.from_bytes(data, "little"))
    unknown = offloads & ~int(GUEST_OFFLOADS & state.features)
    if len(data) != 8 or unknown:
        raise Refused(f"offloads {unknown:#x} were not negotiated" if unknown else f"{len(data)} bytes of offloads")
    state.effects.set_guest_offloads(Feature(offloads))
    return b""


_EXTRA = tuple(mode for mode in RxCommand if mode > RxCommand.ALLMULTI)

# fmt: off
COMMANDS: dict[tuple[int, int], Command] = {
    **{(CtrlClass.RX, mode): Command(F.NET_CTRL_RX, _rx(mode)) for mode in RxCommand if mode not in _EXTRA},
    **{(CtrlClass.RX, mode): Command(F.NET_CTRL_RX_EXTRA, _rx(mode)) for mode in _EXTRA},
    (CtrlClass.MAC, MacCommand.TABLE_SET): Command(F.NET_CTRL_RX, _set_table),
    (CtrlClass.MAC, MacCommand.ADDR_SET): Command(F.NET_CTRL_MAC_ADDR, _set_address),
    (CtrlClass.VLAN, VlanCommand.ADD): Command(F.NET_CTRL_VLAN, _add_vlan),
    (CtrlClass.VLAN, VlanCommand.DEL): Command(F.NET_CTRL_VLAN, _delete_vlan),
    (CtrlClass.ANNOUNCE, AnnounceCommand.ACK): Command(F.NET_GUEST_ANNOUNCE, _acknowledge),
    (CtrlClass.MQ, MqCommand.VQ_PAIRS_SET): Command(F.NET_MQ, _set_pairs),
    (CtrlClass.MQ, MqCommand.RSS_CONFIG): Command(F.NET_RSS, rss.configure),
    (CtrlClass.MQ, MqCommand.HASH_CONFIG): Command(F.NET_HASH_REPORT, rss.configure_hash),
    (CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET): Command(F.NET_CTRL_GUEST_OFFLOADS, _set_guest_offloads),
    (CtrlClass.NOTF_COAL, CoalescingCommand.TX_SET): Command(F.NET_NOTF_COAL, coalescing.set_transmit),
    (CtrlClass.NOTF_COAL, CoalescingCommand.RX_SET): Command(F.NET_NOTF_COAL, coalescing.set_receive),
    (CtrlClass.NOTF_COAL, CoalescingCommand.VQ_SET): Command(F.NET_VQ_NOTF_COAL, coalescing.set_queue),
    (CtrlClass.NOTF_COAL, CoalescingCommand.VQ_GET): Command(F.NET_VQ_NOTF_COAL, coalescing.get_queue),
    (CtrlClass.HASH_TUNNEL, HashTunnelCommand.SET): Command(F.NET_HASH_TUNNEL, rss.configure_tunnels),
    (CtrlClass.STATS, StatsCommand.QUERY): Command(F.NET_DEVICE_STATS, device_stats.query),
    (CtrlClass.STATS, StatsCommand.GET): Command(F.NET_DEVICE_STATS, device_stats.get),
    (CtrlClass.RSS_CONTEXT, RssContextCommand.CAP_GET): Command(F.NET_RSS_CONTEXT, rss.contexts),
    (CtrlClass.RSS_CONTEXT, RssContextCommand.ADD): Command(F.NET_RSS_CONTEXT, rss.add_context),
    (CtrlClass.RSS_CONTEXT, RssContextCommand.MOD): Command(F.NET_RSS_CONTEXT, rss.modify_context),
    (CtrlClass.RSS_CONTEXT, RssContextCommand.DEL): Command(F.NET_RSS_CONTEXT, rss.delete_context),
}
# fmt: on


def run(state: NetState, command: bytes) -> bytes:
    """Carry out a command: its class, its number and its data. Returns what follows the ack; raises ``Refused``."""
    state.commands += 1
    if len(command) < 2:
        raise Refused(f"a command of {len(command)} bytes")
    known = COMMANDS.get((command[0], command[1]))
    if known is None or not known.needs & state.features:
        raise Refused(f"class {command[0]}, command {command[1]}: unknown, or its feature was not negotiated")
    result = known.run(state, command[2:])
    state.commands_ok += 1
    return result
