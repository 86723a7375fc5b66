"""Commands of receive-side scaling and of the hash that goes with it. Ref: virtio 1.4, 5.1.6.5.7 and 5.1.6.5.8"""

from __future__ import annotations

from dataclasses import replace

from ..spec.virtio_net import (
    HashHead,
    HashType,
    RssContextCap,
    RssContextHead,
    RssHead,
    RssTail,
    TunnelType,
)
from .settings import HASHES, MAX_CONTEXTS, MAX_INDIRECTION, MAX_KEY, TUNNELS, NetState, Refused, Rss

_TUNNELS = 4  # bytes of enabled_tunnel_types
_ID = 2  # bytes of a context's id
_ENTRY = 2  # bytes of a receive queue's number: bits 1 to 16 of its index, which is its pair


def steer_automatically(state: NetState) -> None:
    """VQ_PAIRS_SET ends RSS; hashes that are reported stay (5.1.6.5.6)."""
    if state.rss.table:
        _apply(state, replace(state.rss, table=()))


def configure(state: NetState, data: bytes) -> bytes:
    """RSS_CONFIG: hash, table, transmit queues in use."""
    rss, pairs = _read(state, data)
    _apply(state, rss)
    state.effects.set_pairs(pairs)
    return b""


def _read(state: NetState, data: bytes) -> tuple[Rss, int]:
    """A ``struct virtio_net_rss_config``, and how many pairs it takes; raises ``Refused``."""
    if len(data) < RssHead.size:
        raise Refused(f"an RSS configuration of {len(data)} bytes")
    head = RssHead.unpack(data[: RssHead.size])
    entries = head.indirection_table_mask + 1
    if entries & head.indirection_table_mask or entries > MAX_INDIRECTION:
        raise Refused(f"an indirection table of {entries} entries: a power of two up to {MAX_INDIRECTION} it must be")
    rest = data[RssHead.size :]
    table = [int.from_bytes(rest[at : at + _ENTRY], "little") for at in range(0, entries * _ENTRY, _ENTRY)]
    rest = rest[entries * _ENTRY :]
    if len(rest) < RssTail.size:
        raise Refused("the indirection table is cut off")
    tail = RssTail.unpack(rest[: RssTail.size])
    key = _key(rest[RssTail.size :], tail.hash_key_length)
    pairs = max(head.unclassified_queue, *table) + 1
    if pairs > state.max_pairs or not 1 <= tail.max_tx_vq <= state.max_pairs:
        raise Refused(f"queues up to {pairs} and {tail.max_tx_vq} to transmit, there are 1 to {state.max_pairs} pairs")
    rss = Rss(_types(head.hash_types), key, tuple(table), head.unclassified_queue, state.rss.tunnels)
    return rss, max(pairs, tail.max_tx_vq)


def contexts(_state: NetState, data: bytes) -> bytes:
    """CAP_GET: how many contexts there may be."""
    if data:
        raise Refused(f"CAP_GET has no data, here are {len(data)} bytes")
    return RssContextCap(max_rss_contexts=MAX_CONTEXTS).pack()


def add_context(state: NetState, data: bytes) -> bytes:
    """ADD: a configuration of its own. Nothing that the NIC has refers to contexts yet: it keeps them."""
    return _set_context(state, data, known=False)


def modify_context(state: NetState, data: bytes) -> bytes:
    """MOD: another configuration for a context that there is."""
    return _set_context(state, data, known=True)


def _set_context(state: NetState, data: bytes, *, known: bool) -> bytes:
    if len(data) < RssContextHead.size:
        raise Refused(f"an RSS context of {len(data)} bytes")
    context = RssContextHead.unpack(data[: RssContextHead.size]).rss_ctx_id
    if not 1 <= context <= MAX_CONTEXTS or (context in state.contexts) != known:
        raise Refused(f"context {context}: there are {sorted(state.contexts)}, of 1 to {MAX_CONTEXTS}")
    state.contexts[context], _ = _read(state, data[RssContextHead.size :])
    return b""


def delete_context(state: NetState, data: bytes) -> bytes:
    """DEL: forget a context."""
    context = int.from_bytes(data, "little")
    if len(data) != _ID or context not in state.contexts:
        raise Refused(f"no context to delete: {data.hex()}, there are {sorted(state.contexts)}")
    del state.contexts[context]
    return b""


def configure_hash(state: NetState, data: bytes) -> bytes:
    """HASH_CONFIG: the hash that is reported, without steering."""
    if len(data) < HashHead.size:
        raise Refused(f"a hash configuration of {len(data)} bytes")
    head = HashHead.unpack(data[: HashHead.size])
    key = _key(data[HashHead.size :], head.hash_key_length)
    _apply(state, Rss(_types(head.hash_types), key, tunnels=state.rss.tunnels))
    return b""


def configure_tunnels(state: NetState, data: bytes) -> bytes:
    """HASH_TUNNEL_SET: the tunnels whose inner headers are hashed."""
    types = int.from_bytes(data, "little")
    if len(data) != _TUNNELS or types & ~int(TUNNELS):
        raise Refused(f"tunnel types {data.hex()}, the NIC has {int(TUNNELS):#x}")
    _apply(state, replace(state.rss, tunnels=TunnelType(types)))
    return b""


def _apply(state: NetState, rss: Rss) -> None:
    state.rss = rss
    state.effects.set_rss(rss)


def _types(types: int) -> HashType:
    if types & ~int(HASHES):
        raise Refused(f"hash types {types:#x}, the NIC has {int(HASHES):#x}")
    return HashType(types)


def _key(data: bytes, length: int) -> bytes:
    if length > MAX_KEY or len(data) != length:
        raise Refused(f"a key of {length} bytes, here are {len(data)}, the NIC takes {MAX_KEY}")
    return data
