"""Mutants of the control queue: filters, coalescing, statistics (5.1.6.5)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...spec.features import Feature
from ...spec.virtio_net import (
    CoalescingCommand,
    CtrlClass,
    GuestOffloadsCommand,
    MacCommand,
    MqCommand,
    NetStatus,
    RxCommand,
    StatsCommand,
    StatsHeader,
    StatsQuery,
    VlanCommand,
)
from ..irq import NONE
from ..settings import TUNNELS, Moderation, NetState, Refused
from .mutant import Mutant, around

if TYPE_CHECKING:
    from ..state import Queue
    from ..virtio_net import VirtioNet

Patch = Callable[["VirtioNet"], None]
Run = Callable[[NetState, bytes], bytes]
Twist = Callable[[Run, NetState, bytes], bytes]
LARGE = 1 << 31


def _commands(twist: Twist) -> Patch:
    """Answer commands otherwise: ``twist`` gets the ordinary way, too."""

    def patch(nic: VirtioNet) -> None:
        if nic.control:
            around(nic.control, "run", twist)

    return patch


def _is(command: bytes, klass: int, *numbers: int) -> bool:
    return command[:1] == bytes([klass]) and command[1] in numbers if len(command) > 1 else False


def _refuse(klass: int, *numbers: int) -> Patch:
    def twist(run: Run, state: NetState, command: bytes) -> bytes:
        if _is(command, klass, *numbers):
            raise Refused("a mutant does not know it")
        return run(state, command)

    return _commands(twist)


def _only_say_so(wanted: Callable[[bytes], bool]) -> Patch:
    """Acknowledge such commands, and do nothing."""
    return _commands(lambda run, state, command: b"" if wanted(command) else run(state, command))


def _takes_any_queue(nic: VirtioNet) -> None:
    around(nic.settings.effects, "is_enabled", lambda _real, queue: queue < nic.engine.queues)


def _filter(twist: Callable[[Any], None]) -> Patch:
    """Change what the data path filters by: a ``struct vdp_filter *``."""

    def set_filter(real: Callable[[Any], None], native: Any) -> None:
        twist(native)
        real(native)

    return lambda nic: around(nic.engine, "set_filter", set_filter)


def _set(**fields: Callable[[Any], bool]) -> Patch:
    """Fields of the filter, by what it says."""

    def twist(native: Any) -> None:
        said = {name: value(native) for name, value in fields.items()}
        for name, value in said.items():
            setattr(native, name, value)

    return _filter(twist)


def _some_mode(native: Any) -> bool:
    return bool(native.nouni or native.nomulti or native.nobcast)


def _late_tables() -> Patch:
    """A table is set when the next command comes."""
    waiting: list[bytes] = []

    def twist(run: Run, state: NetState, command: bytes) -> bytes:
        late = waiting[:] if state.commands else []
        waiting.clear()
        for one in late:
            run(state, one)
        if not _is(command, CtrlClass.MAC, MacCommand.TABLE_SET):
            return run(state, command)
        state.commands += 1
        waiting.append(command)
        return b""

    return _commands(twist)


def keep(*names: str) -> Patch:
    """A reset does not take these settings away."""

    def forget(real: Callable[[], None], nic: VirtioNet) -> None:
        kept = {name: getattr(nic.settings, name) for name in names}
        kept = {name: dict(value) if isinstance(value, dict) else value for name, value in kept.items()}
        real()
        for name, value in kept.items():
            setattr(nic.settings, name, value)

    return lambda nic: around(nic, "_forget_settings", lambda real: forget(real, nic))


def _forgotten_feature(nic: VirtioNet) -> None:
    """Tags are looked at also without CTRL_VLAN."""

    def set_filter(real: Callable[[Any], None], native: Any) -> None:
        native.vlans = True
        real(native)

    def negotiated(real: Callable[[Feature], None], features: Feature) -> None:
        real(features)
        nic.settings.effects.set_filter(nic.settings)

    around(nic.engine, "set_filter", set_filter)
    around(nic, "negotiated", negotiated)


def _asks_on(nic: VirtioNet) -> None:
    """S_ANNOUNCE is set when the driver is there, and stays."""

    def go(real: Callable[[], None]) -> None:
        real()
        nic.net.change(status=nic.net.status | NetStatus.ANNOUNCE)

    around(nic, "go", go)
    around(nic.settings.effects, "announced", lambda _real: None)


# Coalescing


def _reserved(run: Run, state: NetState, command: bytes) -> bytes:
    of_queue = _is(command, CtrlClass.NOTF_COAL, CoalescingCommand.VQ_SET, CoalescingCommand.VQ_GET)
    if of_queue and any(command[4:6]):
        raise Refused("a mutant minds what is reserved")
    return run(state, command)


def _large(command: bytes, at: int) -> bool:
    return int.from_bytes(command[at : at + 4], "little") >= LARGE


def _keeps_moderation(transmits: int) -> Patch:
    """A queue that is enabled anew has what VQ_SET gave it."""

    def queue_on(real: Callable[[Queue], None], nic: VirtioNet, queue: Queue) -> None:
        kept = nic.settings.moderation.get(queue.index)
        real(queue)
        if kept and queue.index % 2 == transmits:
            nic.settings.moderation[queue.index] = kept

    return lambda nic: around(nic, "queue_on", lambda real, queue: queue_on(real, nic, queue))


def _notifies(nic: VirtioNet) -> None:
    """A transmit queue with coalescing notifies whatever its driver asks for."""

    def bell(real: Callable[[int], None], queue: int) -> None:
        real(queue)
        if nic.settings.common_moderation.get(True, Moderation()).max_packets and queue % 2:
            fd = nic.irqs.fd(nic.state.queues[queue].vector)
            if fd != NONE:
                os.eventfd_write(fd, 1)

    around(nic.notify, "on_bell", bell)


# Statistics


def _what_it_can(run: Run, state: NetState, command: bytes) -> bytes:
    if not _is(command, CtrlClass.STATS, StatsCommand.GET):
        return run(state, command)
    found = b""
    for at in range(2, len(command), StatsQuery.size):
        try:
            found += run(state, command[:2] + command[at : at + StatsQuery.size])
        except Refused:
            continue
    return found


def _headers(change: Callable[[StatsHeader], None]) -> Patch:
    def twist(run: Run, state: NetState, command: bytes) -> bytes:
        reply = run(state, command)
        if not _is(command, CtrlClass.STATS, StatsCommand.GET):
            return reply
        changed, at = b"", 0
        while at < len(reply):
            header = StatsHeader.unpack(reply[at:])
            end = at + int(header.length)
            change(header)
            changed += header.pack() + reply[at + StatsHeader.size : end]
            at = end
        return changed

    return _commands(twist)


def _longer(run: Run, state: NetState, command: bytes) -> bytes:
    return run(state, command) + bytes(64 if _is(command, CtrlClass.STATS, StatsCommand.GET) else 0)


def _size(header: StatsHeader) -> None:
    header.length = StatsHeader.size


def _queue(header: StatsHeader) -> None:
    header.vq_index = 0


def _no_types(run: Run, state: NetState, command: bytes) -> bytes:
    return bytes(8) if _is(command, CtrlClass.STATS, StatsCommand.QUERY) else run(state, command)


def _with_hash(run: Run, state: NetState, command: bytes) -> bytes:
    if _is(command, CtrlClass.MQ, MqCommand.RSS_CONFIG) and state.features & Feature.NET_HASH_REPORT:
        raise Refused("a mutant reports hashes or steers by them")
    return run(state, command)


def _no_outer_hash(nic: VirtioNet) -> None:
    def set_rss(real: Callable[[Any], None], native: Any) -> None:
        if native.tunnels:
            native.types = 0
        real(native)

    around(nic.engine, "set_rss", set_rss)


def _far_vlans(native: Any) -> None:
    native.vlan[256:512] = [0] * 256


C = CoalescingCommand
# fmt: off
MUTANTS: tuple[Mutant, ...] = (
    Mutant("U-7", "an unknown class of commands is acknowledged",
           patch=_only_say_so(lambda command: command[:1] > bytes([CtrlClass.RSS_CONTEXT]))),
    Mutant("U-8", "offloads are acknowledged and not changed",
           patch=_only_say_so(lambda command: _is(command, CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET))),
    Mutant("U-9", "VQ_PAIRS_SET 0 is acknowledged",
           patch=_only_say_so(lambda command: command == bytes([CtrlClass.MQ, MqCommand.VQ_PAIRS_SET, 0, 0]))),
    Mutant("X-8", "RSS_CONFIG is refused with HASH_REPORT", patch=_commands(_with_hash)),
    Mutant("X-12", "HASH_CONFIG is refused", patch=_refuse(CtrlClass.MQ, MqCommand.HASH_CONFIG)),
    Mutant("N-GARP-1", "S_ANNOUNCE stays set", patch=_asks_on),

    Mutant("N-RXF-1", "ALLMULTI is refused", patch=_refuse(CtrlClass.RX, RxCommand.ALLMULTI)),
    Mutant("N-RXF-2", "PROMISC lets in unicast only", ("N-RXF-3",),
           patch=_set(promisc=lambda _f: False, alluni=lambda f: f.alluni or f.promisc)),
    Mutant("N-RXF-3", "PROMISC gives way to other modes",
           patch=_set(promisc=lambda f: f.promisc and not _some_mode(f))),
    Mutant("N-RXF-4", "ALLMULTI does nothing", patch=_set(allmulti=lambda _f: False)),
    Mutant("N-RXF-5", "NOBCAST is refused", patch=_refuse(CtrlClass.RX, RxCommand.NOBCAST)),
    Mutant("N-RXF-6", "ALLUNI does nothing", patch=_set(alluni=lambda _f: False)),
    Mutant("N-RXF-7", "NOMULTI does nothing alone", patch=_set(nomulti=lambda f: f.nomulti and f.allmulti)),
    Mutant("N-RXF-8", "ALLMULTI wins over NOMULTI", patch=_set(nomulti=lambda f: f.nomulti and not f.allmulti)),
    Mutant("N-RXF-9", "NOMULTI is NOBCAST, too", patch=_set(nobcast=lambda f: f.nobcast or f.nomulti)),
    Mutant("N-RXF-10", "NOUNI does nothing alone", patch=_set(nouni=lambda f: f.nouni and f.alluni)),
    Mutant("N-RXF-11", "ALLUNI wins over NOUNI", patch=_set(nouni=lambda f: f.nouni and not f.alluni)),
    Mutant("N-RXF-12", "NOBCAST does nothing alone", patch=_set(nobcast=lambda f: f.nobcast and f.allmulti)),
    Mutant("N-RXF-13", "ALLMULTI wins over NOBCAST", patch=_set(nobcast=lambda f: f.nobcast and not f.allmulti)),

    Mutant("N-MAC-1", "the table outlives a reset", patch=keep("unicast", "multicast")),
    Mutant("N-MAC-2", "a table is in force one command late", ("N-MAC-1",), patch=_late_tables()),
    Mutant("N-MAC-3", "MAC_ADDR_SET does nothing",
           patch=_only_say_so(lambda command: _is(command, CtrlClass.MAC, MacCommand.ADDR_SET))),
    Mutant("N-MAC-4", "all multicast comes through", patch=_set(allmulti=lambda _f: True)),

    Mutant("N-VLAN-1", "tags are filtered without CTRL_VLAN", patch=_forgotten_feature),
    Mutant("N-VLAN-2", "VLANs from 2048 on are forgotten", patch=_filter(_far_vlans)),
    Mutant("N-VLAN-3", "a VLAN that was deleted stays",
           patch=_only_say_so(lambda command: _is(command, CtrlClass.VLAN, VlanCommand.DEL))),

    Mutant("N-COAL-1", "a reserved field that is not 0 is refused", patch=_commands(_reserved)),
    Mutant("N-COAL-2", "TX_SET of many packets is acknowledged and not done",
           patch=_only_say_so(lambda command: _is(command, CtrlClass.NOTF_COAL, C.TX_SET) and _large(command, 2))),
    Mutant("N-COAL-3", "VQ_SET of many packets is acknowledged and not done",
           patch=_only_say_so(lambda command: _is(command, CtrlClass.NOTF_COAL, C.VQ_SET) and _large(command, 6))),
    Mutant("N-COAL-4", "VQ_SET and VQ_GET take queues that are not enabled",
           patch=_takes_any_queue),
    Mutant("N-COAL-5", "a transmit queue keeps its parameters over its reset", patch=_keeps_moderation(1)),
    Mutant("N-COAL-6", "a receive queue keeps its parameters over its reset", patch=_keeps_moderation(0)),
    Mutant("N-COAL-8", "a queue with coalescing notifies a driver that wants none", patch=_notifies),
    Mutant("N-COAL-9", "TX_SET and RX_SET outlive a reset", ("N-COAL-5", "N-COAL-6"),
           patch=keep("common_moderation")),

    Mutant("N-IHH-1", "with a tunnel type enabled, no frame has a hash", patch=_no_outer_hash),
    Mutant("N-IHH-2", "tunnel types that it does not have are acknowledged",
           patch=_only_say_so(lambda command: command[:1] == bytes([CtrlClass.HASH_TUNNEL])
                              and bool(int.from_bytes(command[2:], "little") & ~int(TUNNELS)))),
    Mutant("N-IHH-3", "tunnel types that were enabled stay so",
           patch=_only_say_so(lambda command: command == bytes([CtrlClass.HASH_TUNNEL, 0, 0, 0, 0, 0]))),

    Mutant("N-STAT-1", "STATS_QUERY knows no groups", patch=_commands(_no_types)),
    Mutant("N-STAT-2", "STATS_GET leaves bad entries out", patch=_commands(_what_it_can)),
    Mutant("N-STAT-3", "a group's size is that of its header", ("N-STAT-4", "N-STAT-5"), patch=_headers(_size)),
    Mutant("N-STAT-4", "every group is queue 0's", patch=_headers(_queue)),
    Mutant("N-STAT-5", "zeroes behind the last group", ("N-STAT-3", "N-STAT-4"), patch=_commands(_longer)),
)
# fmt: on
