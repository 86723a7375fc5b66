"""Commands of notification coalescing. Ref: virtio 1.3, 5.1.6.5.9

Each queue has what VQ_SET told it last, else what was told to all of its kind. csrc/nic_calm.c carries it out.
"""

from __future__ import annotations

from ..spec.virtio_net import Coalescing, CoalescingQueue
from .settings import Moderation, NetState, Refused


def set_transmit(state: NetState, data: bytes) -> bytes:
    """TX_SET."""
    return _set_all(state, data, transmits=True)


def set_receive(state: NetState, data: bytes) -> bytes:
    """RX_SET."""
    return _set_all(state, data, transmits=False)


def set_queue(state: NetState, data: bytes) -> bytes:
    """VQ_SET."""
    queue, rest = _queue(state, data)
    state.moderation[queue] = _moderation(rest)
    state.effects.set_moderation(queue, state.moderation[queue])
    return b""


def get_queue(state: NetState, data: bytes) -> bytes:
    """VQ_GET."""
    queue, rest = _queue(state, data)
    if rest:
        raise Refused(f"{len(rest)} bytes too many")
    now = state.moderation_of(queue)
    return Coalescing(max_packets=now.max_packets, max_usecs=now.max_usecs).pack()


def _set_all(state: NetState, data: bytes, *, transmits: bool) -> bytes:
    state.common_moderation[transmits] = _moderation(data)
    for queue in range(int(transmits), 2 * state.max_pairs, 2):
        state.moderation.pop(queue, None)
        state.effects.set_moderation(queue, state.moderation_of(queue))
    return b""


def _queue(state: NetState, data: bytes) -> tuple[int, bytes]:
    """A queue that is in use, and the bytes behind it."""
    if len(data) < CoalescingQueue.size:
        raise Refused(f"a queue's coalescing of {len(data)} bytes")
    queue = CoalescingQueue.unpack(data[: CoalescingQueue.size]).vq_index  # the rest of it is to be ignored
    if queue == state.control_index or not state.effects.is_enabled(queue):
        raise Refused(f"{queue} is no receive or transmit queue that is enabled")
    return queue, data[CoalescingQueue.size :]


def _moderation(data: bytes) -> Moderation:
    if len(data) != Coalescing.size:
        raise Refused(f"coalescing has {Coalescing.size} bytes, not {len(data)}")
    asked = Coalescing.unpack(data)
    return Moderation(asked.max_packets, asked.max_usecs)
