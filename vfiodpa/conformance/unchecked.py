"""Clauses that have no check, and why. A test holds this and the checks against the clause table."""

from __future__ import annotations

_NO_FIELD = "without the feature the header has no such field: what lies at its place is the frame (N-TX-2, N-RX-5)"
_NO_TUNNELS = "wants UDP_TUNNEL_GSO of the software NIC and of its peer, which have none"
_NO_IPSEC = "wants IPsec: the software NIC has none, and no NIC of today does"
_NO_FLOW_FILTER = "wants a flow filter behind an administration queue: the software NIC has neither"

UNCHECKED: dict[str, str] = {
    # Virtqueues
    "USD-3": "a permission: no device can break it (USD-2 notes what it does)",
    "ANS-2": "a permission: no device can break it (ANS-1 notes what it does)",
    "PKV-3": "a permission, and a driver that looks at slots in their order cannot tell",
    "X-13": "a permission: no device can break it (ANS-5 notes what it does)",
    # Network device
    "N-TX-3": "a permission: no device can break it",
    "N-TX-4": _NO_FIELD,
    "N-TX-5": "a permission: no device can break it",
    "N-TX-6": "a permission: no device can break it (N-TX-7 tries wrong hints)",
    "N-TX-8": _NO_TUNNELS,
    "N-TX-9": _NO_FIELD,
    "N-TX-10": _NO_TUNNELS,
    "N-TX-11": _NO_TUNNELS,
    "N-TX-13": _NO_FIELD,
    "N-RX-15": "a permission: no device can break it",
    "N-RX-16": _NO_FIELD,
    "N-RX-17": "a permission: no device can break it (N-RX-18 to N-RX-20 look at what it does)",
    "N-RX-21": _NO_TUNNELS,
    "N-RX-22": _NO_TUNNELS,
    "N-RX-23": _NO_TUNNELS,
    "N-RX-26": "wants RSC_EXT, which the software NIC does not have",
    "N-RX-29": "a permission: no device can break it (N-RX-30 looks at what it does)",
    **{f"N-RX-{number}": _NO_TUNNELS for number in range(31, 35)},
    **{f"N-RX-{number}": _NO_IPSEC for number in range(35, 42)},
    **{f"N-RCTX-{number}": "wants RSS_CONTEXT, which the software NIC does not have" for number in range(1, 3)},
    "N-COAL-7": "a permission: no device can break it",
    "N-STAT-6": "64-bit counters do not wrap within anybody's time",
    **{f"N-FF-{number}": _NO_FLOW_FILTER for number in range(1, 22)},
    **{f"N-IPS-{number}": _NO_IPSEC for number in range(1, 11)},
    # Rules in running text
    "X-11": "a permission: no device can break it",
}
