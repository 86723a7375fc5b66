"""Commands of the device statistics. Ref: virtio 1.4, 5.1.6.5.10"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._native import lib
from ..spec.virtio_net import StatsHeader, StatsQuery, StatsType
from .settings import NetState, Refused

# Groups of the kinds of queues: in each place the sum of these counters of QueueStats.
_DROPS = ("dropped", "too_long")  # the former for want of buffers
_RECEIVE = (("kicks",), ("packets",), ("bytes",), _DROPS, ("dropped",))
_TRANSMIT = (("kicks",), ("packets",), ("bytes",), ("bad_headers",), ("bad_headers",))
_SUPPORTED = sum(1 << one for one in StatsType)


def query(_state: NetState, data: bytes) -> bytes:
    """STATS_QUERY: the groups that the NIC has."""
    if data:
        raise Refused(f"STATS_QUERY has no data, here are {len(data)} bytes")
    return _SUPPORTED.to_bytes(8, "little")


def get(state: NetState, data: bytes) -> bytes:
    """STATS_GET: the groups asked for, in the order of the bits."""
    if not data or len(data) % StatsQuery.size:
        raise Refused(f"{len(data)} bytes of STATS_GET: {StatsQuery.size} for each queue they must be")
    asked = [StatsQuery.unpack(data[at : at + StatsQuery.size]) for at in range(0, len(data), StatsQuery.size)]
    reply = b"".join(_groups(state, one.vq_index, one.types_bitmap) for one in asked)
    if len(reply) >= lib.VDP_CONTROL_MAX:
        raise Refused(f"an answer of {len(reply)} bytes")
    return reply


def _groups(state: NetState, queue: int, types: int) -> bytes:
    known = _counters(state, queue)
    if not known or types & ~sum(1 << one for one in known):
        raise Refused(f"statistics {types:#x} of queue {queue}")
    return b"".join(_group(queue, one, values) for one, values in known.items() if types >> one & 1)


def _counters(state: NetState, queue: int) -> Mapping[StatsType, Iterable[int]]:
    if queue == state.control_index:
        return {StatsType.CVQ: (state.commands, state.commands_ok)}
    counters = state.effects.counters(queue)
    if counters is None:
        return {}
    places, one = (_TRANSMIT, StatsType.TX_BASIC) if queue % 2 else (_RECEIVE, StatsType.RX_BASIC)
    return {one: [sum(counters[name] for name in names) for names in places]}


def _group(queue: int, kind: StatsType, values: Iterable[int]) -> bytes:
    body = b"".join(value.to_bytes(8, "little") for value in values)
    return StatsHeader(type=kind, vq_index=queue, length=StatsHeader.size + len(body)).pack() + body
