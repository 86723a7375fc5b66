"""The hash that receive-side scaling is made of, written from its definition: what the device has to compute.

Ref: virtio 1.3, 5.1.6.4.3; Microsoft, "RSS hashing functions".
"""

from __future__ import annotations

from ..spec.virtio_net import HashType
from .frames import TCP, UDP, Flow

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")


def toeplitz(key: bytes, data: bytes) -> int:
    """For each bit of ``data`` that is set, the 32 bits of the key that begin there, added modulo 2."""
    bits = int.from_bytes(key, "big")
    length = 8 * len(key)
    result = 0
    for at in range(8 * len(data)):
        if data[at // 8] >> (7 - at % 8) & 1:
            result ^= bits >> (length - 32 - at) & 0xFFFF_FFFF
    return result


def flow_hash(flow: Flow, types: int, key: bytes = KEY) -> int | None:
    """The hash of a flow's frames where ``types`` are enabled; ``None``: there is none."""
    base = HashType.IPV6 if flow.ipv6 else HashType.IPV4
    ports = {TCP: base << 1, UDP: base << 2}.get(flow.protocol, 0)
    if types & ports:
        return toeplitz(key, flow.addresses + flow.ports)
    return toeplitz(key, flow.addresses) if types & base else None
