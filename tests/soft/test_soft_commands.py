"""The table of control commands by itself: what each does, and what each refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfiodpa.soft import commands
from vfiodpa.soft.commands import COMMANDS
from vfiodpa.soft.flow_filter import Match
from vfiodpa.soft.settings import GUEST_OFFLOADS, HASHES, MAX_CONTEXTS, Moderation, NetState, Refused, Rss
from vfiodpa.soft.stats import QueueStats
from vfiodpa.spec.features import NONE, Feature
from vfiodpa.spec.virtio_net import (
    AnnounceCommand,
    CoalescingCommand,
    CtrlClass,
    GuestOffloadsCommand,
    HashType,
    MacCommand,
    MqCommand,
    RssContextCommand,
    RxCommand,
    StatsCommand,
    StatsType,
    VlanCommand,
    offload_bits,
    offloads_of,
)

F = Feature
MAC = bytes.fromhex("525400aabbcc")
PAIRS = 4
CONTROL = 2 * PAIRS
ALL = F(sum({command.needs for command in COMMANDS.values()})) | GUEST_OFFLOADS | F.NET_CTRL_VQ
COUNTERS = {field.name: number for number, field in enumerate(QueueStats.fields)}


class Told:
    """Effects that remember what they were told."""

    def __init__(self) -> None:
        self.mac = b""
        self.pairs = 0
        self.filters = 0
        self.rss = Rss()
        self.offloads = NONE
        self.announcements = 0
        self.flow_rules: list[Match] = []
        self.moderation: dict[int, Moderation] = {}

    def set_mac(self, mac: bytes) -> None:
        self.mac = mac

    def set_pairs(self, pairs: int) -> None:
        self.pairs = pairs

    def set_filter(self, state: NetState) -> None:
        self.filters += 1

    def set_rss(self, rss: Rss) -> None:
        self.rss = rss

    def set_moderation(self, queue: int, moderation: Moderation) -> None:
        self.moderation[queue] = moderation

    def set_guest_offloads(self, offloads: Feature) -> None:
        self.offloads = offloads

    def set_flow_rules(self, rules: Sequence[Match]) -> None:
        self.flow_rules = list(rules)

    def announced(self) -> None:
        self.announcements += 1

    def is_enabled(self, queue: int) -> bool:
        return queue <= CONTROL and queue != 3

    def counters(self, queue: int) -> Mapping[str, int] | None:
        return COUNTERS if queue < CONTROL else None


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def state(told: Told) -> NetState:
    return NetState(PAIRS, told, ALL)


def le(value: int, width: int) -> bytes:
    return value.to_bytes(width, "little")


def run(state: NetState, kind: int, command: int, data: bytes = b"") -> bytes:
    return commands.run(state, bytes([kind, command]) + data)


def rss(*, types: int = 0x3F, mask: int = 3, unclassified: int = 0, tx: int = 2, key: bytes = b"k" * 40) -> bytes:
    table = b"".join(le(entry % 2, 2) for entry in range(mask + 1))
    return le(types, 4) + le(mask, 2) + le(unclassified, 2) + table + le(tx, 2) + bytes([len(key)]) + key


def test_tables_and_vlans_are_kept(state: NetState, told: Told) -> None:
    table = le(1, 4) + MAC + le(2, 4) + bytes(12)
    run(state, CtrlClass.MAC, MacCommand.TABLE_SET, table)
    assert (state.unicast, state.multicast, state.filtering) == ((MAC,), (bytes(6), bytes(6)), True)
    for vlan in (7, 9):
        run(state, CtrlClass.VLAN, VlanCommand.ADD, le(vlan, 2))
    run(state, CtrlClass.VLAN, VlanCommand.DEL, le(7, 2))
    assert state.vlans == {9}
    assert told.filters == 4
    state.clear()
    assert (state.unicast, state.multicast, state.vlans, state.filtering) == ((), (), set(), False)


def test_vlans_alone_do_not_filter_addresses(state: NetState) -> None:
    run(state, CtrlClass.VLAN, VlanCommand.ADD, le(7, 2))
    assert not state.filtering


def test_announced(state: NetState, told: Told) -> None:
    run(state, CtrlClass.ANNOUNCE, AnnounceCommand.ACK)
    assert told.announcements == 1


def test_rss(state: NetState, told: Told) -> None:
    run(state, CtrlClass.MQ, MqCommand.RSS_CONFIG, rss(types=HashType.TCPV4, unclassified=2, tx=1))
    assert told.rss == Rss(HashType.TCPV4, b"k" * 40, (0, 1, 0, 1), 2)
    assert told.pairs == 3  # up to the last that receives


def test_pairs_end_rss_and_keep_the_hash(state: NetState, told: Told) -> None:
    """5.1.6.5.6."""
    run(state, CtrlClass.MQ, MqCommand.RSS_CONFIG, rss())
    run(state, CtrlClass.MQ, MqCommand.VQ_PAIRS_SET, le(4, 2))
    assert told.rss == Rss(HASHES, b"k" * 40)
    assert told.pairs == 4


def test_hash_alone(state: NetState, told: Told) -> None:
    run(state, CtrlClass.MQ, MqCommand.HASH_CONFIG, le(HashType.UDPV6, 4) + bytes(8) + b"\2ab")
    assert told.rss == Rss(HashType.UDPV6, b"ab")
    assert told.pairs == 0


@pytest.mark.parametrize(
    "data",
    [
        rss(mask=2),  # no power of two
        rss(mask=1023),
        rss(mask=0xFFFF),
        rss(types=0x40),  # not supported
        rss(unclassified=PAIRS),
        rss(tx=0),
        rss(tx=PAIRS + 1),
        rss(key=b"k" * 41),
        rss()[:-1],
        rss() + b"k",
        rss()[:12],
        rss()[:7],
        rss(mask=0)[:8] + le(PAIRS, 2) + rss(mask=0)[10:],
        b"",
    ],
)
def test_no_rss(state: NetState, told: Told, data: bytes) -> None:
    with pytest.raises(Refused):
        run(state, CtrlClass.MQ, MqCommand.RSS_CONFIG, data)
    assert (told.rss, told.pairs, state.rss) == (Rss(), 0, Rss())


def context(number: int, *, types: int = 1) -> bytes:
    return le(number, 2) + b"\xee" * 6 + rss(types=types)  # reserved bytes are not looked at


def test_contexts(state: NetState, told: Told) -> None:
    most = int.from_bytes(run(state, CtrlClass.RSS_CONTEXT, RssContextCommand.CAP_GET), "little")
    for number in range(1, most + 1):
        run(state, CtrlClass.RSS_CONTEXT, RssContextCommand.ADD, context(number))
    run(state, CtrlClass.RSS_CONTEXT, RssContextCommand.MOD, context(2, types=2))
    assert (state.contexts[1].types, state.contexts[2].types) == (1, 2)
    assert told.rss == Rss()  # the default configuration is another one
    with pytest.raises(Refused):
        run(state, CtrlClass.MQ, MqCommand.VQ_PAIRS_SET, le(1, 2))
    run(state, CtrlClass.RSS_CONTEXT, RssContextCommand.DEL, le(2, 2))
    assert sorted(state.contexts) == [1, *range(3, most + 1)]
    state.clear()
    assert not state.contexts


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (RssContextCommand.CAP_GET, b"\0"),
        (RssContextCommand.ADD, context(0)),
        (RssContextCommand.ADD, context(1)),
        (RssContextCommand.ADD, context(MAX_CONTEXTS + 1)),
        (RssContextCommand.ADD, context(2)[:7]),
        (RssContextCommand.ADD, context(2)[:-1]),
        (RssContextCommand.MOD, context(2)),
        (RssContextCommand.MOD, context(1, types=0x200)),
        (RssContextCommand.DEL, le(2, 2)),
        (RssContextCommand.DEL, b"\1"),
    ],
)
def test_no_context(state: NetState, command: RssContextCommand, data: bytes) -> None:
    run(state, CtrlClass.RSS_CONTEXT, RssContextCommand.ADD, context(1))
    before = dict(state.contexts)
    with pytest.raises(Refused):
        run(state, CtrlClass.RSS_CONTEXT, command, data)
    assert state.contexts == before


@pytest.mark.parametrize("data", [b"", bytes(12), bytes(12) + b"\1", le(0x200, 4) + bytes(9), bytes(13) + b"x"])
def test_no_hash(state: NetState, data: bytes) -> None:
    with pytest.raises(Refused):
        run(state, CtrlClass.MQ, MqCommand.HASH_CONFIG, data)


def test_guest_offloads_of_tunnels(told: Told) -> None:
    tunnels = F.NET_GUEST_UDP_TUNNEL_GSO | F.NET_GUEST_UDP_TUNNEL_GSO_CSUM
    state = NetState(PAIRS, told, F.NET_CTRL_GUEST_OFFLOADS | F.NET_GUEST_UDP_TUNNEL_GSO)
    run(state, CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, le(1 << 46, 8))  # not 65 (1.4, 5.1.6.5.9)
    assert told.offloads == F.NET_GUEST_UDP_TUNNEL_GSO
    with pytest.raises(Refused):
        run(state, CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, le(1 << 47, 8))
    assert offloads_of(offload_bits(int(tunnels))) == tunnels


def test_guest_offloads(told: Told) -> None:
    state = NetState(PAIRS, told, F.NET_CTRL_GUEST_OFFLOADS | F.NET_GUEST_CSUM)
    run(state, CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, le(F.NET_GUEST_CSUM, 8))
    assert told.offloads == F.NET_GUEST_CSUM
    for data in (le(F.NET_GUEST_TSO4, 8), le(F.NET_CSUM, 8), bytes(7), bytes(9)):
        with pytest.raises(Refused):
            run(state, CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, data)
    run(state, CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, bytes(8))
    assert told.offloads == NONE


def coalescing(state: NetState, queue: int) -> Moderation:
    answer = run(state, CtrlClass.NOTF_COAL, CoalescingCommand.VQ_GET, le(queue, 2) + b"\xff\xff")
    return Moderation(int.from_bytes(answer[:4], "little"), int.from_bytes(answer[4:], "little"))


def test_coalescing(state: NetState) -> None:
    run(state, CtrlClass.NOTF_COAL, CoalescingCommand.TX_SET, le(8, 4) + le(50, 4))
    run(state, CtrlClass.NOTF_COAL, CoalescingCommand.VQ_SET, le(0, 2) + b"\xff\xff" + le(3, 4) + le(4, 4))
    assert [coalescing(state, queue) for queue in range(3)] == [Moderation(3, 4), Moderation(8, 50), Moderation()]
    assert state.effects.moderation[0] == Moderation(3, 4)  # type: ignore[attr-defined]
    state.queue_enabled(0)  # 5.1.6.5.9.2: as for all of its kind
    assert coalescing(state, 0) == Moderation()
    run(state, CtrlClass.NOTF_COAL, CoalescingCommand.VQ_SET, le(2, 2) + bytes(2) + le(3, 4) + le(4, 4))
    run(state, CtrlClass.NOTF_COAL, CoalescingCommand.RX_SET, le(1, 4) + le(2, 4))
    assert coalescing(state, 2) == coalescing(state, 0) == Moderation(1, 2)
    state.clear()
    state.features = ALL
    assert coalescing(state, 1) == Moderation()


@pytest.mark.parametrize("queue", [3, CONTROL, 99], ids=["disabled", "control", "none"])
def test_no_coalescing_of_what_is_not_in_use(state: NetState, queue: int) -> None:
    with pytest.raises(Refused):
        coalescing(state, queue)
    with pytest.raises(Refused):
        run(state, CtrlClass.NOTF_COAL, CoalescingCommand.VQ_SET, le(queue, 2) + bytes(10))


def test_statistics(state: NetState) -> None:
    assert run(state, CtrlClass.STATS, StatsCommand.QUERY) == le(1 | 1 << 16 | 1 << 32, 8)
    asked = ((2, StatsType.RX_BASIC), (3, StatsType.TX_BASIC), (CONTROL, StatsType.CVQ))
    ask = b"".join(le(queue, 2) + bytes(6) + le(1 << group, 8) for queue, group in asked)
    answer = run(state, CtrlClass.STATS, StatsCommand.GET, ask)
    rx, tx, control = answer[:48], answer[48:96], answer[96:]
    assert (rx[0], rx[2:4], rx[6:8]) == (StatsType.RX_BASIC, le(2, 2), le(48, 2))
    told = [COUNTERS[name] for name in ("kicks", "packets", "bytes", "dropped", "dropped")]
    told[3] += COUNTERS["too_long"]
    assert rx[8:] == b"".join(le(value, 8) for value in told)
    assert (tx[0], tx[2:4]) == (StatsType.TX_BASIC, le(3, 2))
    assert control[8:] == le(2, 8) + le(1, 8)  # this one is not done yet


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(15),
        le(CONTROL + 1, 2) + bytes(6) + le(1, 8),
        bytes(8) + le(2, 8),
        bytes(8) + le(1 << 16, 8),
        (bytes(8) + le(1, 8)) * 100,
    ],
    ids=["nothing", "cut off", "no such queue", "no such group", "of another kind of queue", "a long answer"],
)
def test_no_statistics(state: NetState, data: bytes) -> None:
    with pytest.raises(Refused):
        run(state, CtrlClass.STATS, StatsCommand.GET, data)


def test_each_command_needs_its_feature(told: Told) -> None:
    state = NetState(PAIRS, told, NONE)
    for kind, command in COMMANDS:
        with pytest.raises(Refused, match="not negotiated"):
            run(state, kind, command, bytes(8))


def test_extra_modes(state: NetState) -> None:
    for mode in RxCommand:
        run(state, CtrlClass.RX, mode, b"\1")
    assert all(state.modes[mode] for mode in RxCommand)
    state.features = ALL & ~F.NET_CTRL_RX_EXTRA
    with pytest.raises(Refused):
        run(state, CtrlClass.RX, RxCommand.NOBCAST, b"\0")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60) | st.tuples(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=60)))
def test_any_bytes_are_run_or_refused(what: bytes | tuple[tuple[int, int], bytes]) -> None:
    command = what if isinstance(what, bytes) else bytes(what[0]) + what[1]
    with contextlib.suppress(Refused):
        commands.run(NetState(PAIRS, Told(), ALL), command)
