"""What the software NIC's control queue understands: one table of commands.

Ref: virtio 1.3, 5.1.6.5. A command that is not in the table, whose feature was not negotiated or whose
data makes no sense is answered with VIRTIO_NET_ERR and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..spec.features import Feature
from ..spec.virtio_net import CtrlClass, MacCommand, MqCommand, RxCommand, VlanCommand, VqPairs

F = Feature

MAC_BYTES = 6
MAX_TABLE = 512  # addresses of both tables together
MAX_VLAN = 4095


class Refused(Exception):
    """The command is answered with VIRTIO_NET_ERR; says why, for the log."""


@dataclass(slots=True)
class NetState:
    """What a driver set over the control queue; a device reset forgets it.

    ``set_mac`` and ``set_pairs`` carry a change out.
    """

    max_pairs: int
    set_mac: Callable[[bytes], None]
    set_pairs: Callable[[int], None]
    modes: dict[RxCommand, bool] = field(default_factory=dict)
    unicast: tuple[bytes, ...] = ()
    multicast: tuple[bytes, ...] = ()
    vlans: set[int] = field(default_factory=set)

    def clear(self) -> None:
        """As after a reset."""
        self.modes.clear()
        self.unicast = self.multicast = ()
        self.vlans.clear()


@dataclass(frozen=True, slots=True)
class Command:
    """``needs``: the feature that brings it; ``run`` raises ``Refused``."""

    needs: Feature
    run: Callable[[NetState, bytes], None]


def _rx(mode: RxCommand) -> Callable[[NetState, bytes], None]:
    def run(state: NetState, data: bytes) -> None:
        if data not in (b"\0", b"\1"):
            raise Refused(f"{mode.name} takes one byte, 0 or 1")
        state.modes[mode] = data == b"\1"

    return run


def _set_table(state: NetState, data: bytes) -> None:
    unicast, rest = _table(data)
    multicast, rest = _table(rest)
    if rest or len(unicast) + len(multicast) > MAX_TABLE:
        raise Refused(f"{len(rest)} bytes too many" if rest else f"more than {MAX_TABLE} addresses")
    state.unicast, state.multicast = unicast, multicast


def _table(data: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """A le32 count, so many addresses, and the bytes behind them."""
    end = 4 + MAC_BYTES * int.from_bytes(data[:4], "little")
    if len(data) < 4 or end > len(data):
        raise Refused("a table is cut off")
    return tuple(data[at : at + MAC_BYTES] for at in range(4, end, MAC_BYTES)), data[end:]


def _set_address(state: NetState, data: bytes) -> None:
    if len(data) != MAC_BYTES:
        raise Refused(f"an address has {MAC_BYTES} bytes, not {len(data)}")
    state.set_mac(data)


def _vlan(data: bytes) -> int:
    vlan = int.from_bytes(data, "little")
    if len(data) != 2 or vlan > MAX_VLAN:
        raise Refused(f"no VLAN: {data.hex()}")
    return vlan


def _add_vlan(state: NetState, data: bytes) -> None:
    state.vlans.add(_vlan(data))


def _delete_vlan(state: NetState, data: bytes) -> None:
    state.vlans.discard(_vlan(data))


def _set_pairs(state: NetState, data: bytes) -> None:
    if len(data) != VqPairs.size:
        raise Refused(f"virtqueue_pairs has {VqPairs.size} bytes, not {len(data)}")
    pairs = VqPairs.unpack(data).virtqueue_pairs
    if not 1 <= pairs <= state.max_pairs:
        raise Refused(f"{pairs} queue pairs, there are 1 to {state.max_pairs}")
    state.set_pairs(pairs)


_EXTRA = tuple(mode for mode in RxCommand if mode > RxCommand.ALLMULTI)

COMMANDS: dict[tuple[int, int], Command] = {
    **{(CtrlClass.RX, mode): Command(F.NET_CTRL_RX, _rx(mode)) for mode in RxCommand if mode not in _EXTRA},
    **{(CtrlClass.RX, mode): Command(F.NET_CTRL_RX_EXTRA, _rx(mode)) for mode in _EXTRA},
    (CtrlClass.MAC, MacCommand.TABLE_SET): Command(F.NET_CTRL_RX, _set_table),
    (CtrlClass.MAC, MacCommand.ADDR_SET): Command(F.NET_CTRL_MAC_ADDR, _set_address),
    (CtrlClass.VLAN, VlanCommand.ADD): Command(F.NET_CTRL_VLAN, _add_vlan),
    (CtrlClass.VLAN, VlanCommand.DEL): Command(F.NET_CTRL_VLAN, _delete_vlan),
    (CtrlClass.MQ, MqCommand.VQ_PAIRS_SET): Command(F.NET_MQ, _set_pairs),
}


def run(state: NetState, features: Feature, command: bytes) -> None:
    """Carry out a command: its class, its number and its data. Raises ``Refused``."""
    if len(command) < 2:
        raise Refused(f"a command of {len(command)} bytes")
    known = COMMANDS.get((command[0], command[1]))
    if known is None or not known.needs & features:
        raise Refused(f"class {command[0]}, command {command[1]}: unknown, or its feature was not negotiated")
    known.run(state, command[2:])
