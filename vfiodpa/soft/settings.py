"""What a driver set over the control queue, and what carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..spec.features import NONE, Feature
from ..spec.virtio_net import HashType, RxCommand, TunnelType, control_queue
from .flow_filter import Match

F = Feature

MAX_KEY = 40  # bytes; rss_max_key_size
MAX_CONTEXTS = 8  # max_rss_contexts
MAX_INDIRECTION = 512  # entries; rss_max_indirection_table_length
HASHES = HashType.IPV4 | HashType.TCPV4 | HashType.UDPV4 | HashType.IPV6 | HashType.TCPV6 | HashType.UDPV6
NO_HASH = HashType(0)
TUNNELS = TunnelType.VXLAN
NO_TUNNEL = TunnelType(0)
GUEST_OFFLOADS = (
    F.NET_GUEST_CSUM
    | F.NET_GUEST_TSO4
    | F.NET_GUEST_TSO6
    | F.NET_GUEST_ECN
    | F.NET_GUEST_UFO
    | F.NET_GUEST_USO4
    | F.NET_GUEST_USO6
    | F.NET_GUEST_UDP_TUNNEL_GSO
    | F.NET_GUEST_UDP_TUNNEL_GSO_CSUM
)


class Refused(Exception):
    """The command is answered with VIRTIO_NET_ERR; says why, for the log."""


@dataclass(frozen=True, slots=True)
class Rss:
    """Hashes and, with a ``table``, steering by them. ``key`` has up to ``MAX_KEY`` bytes; queues are pairs."""

    types: HashType = NO_HASH
    key: bytes = b""
    table: tuple[int, ...] = ()
    unclassified: int = 0
    tunnels: TunnelType = NO_TUNNEL  # whose inner headers are hashed


@dataclass(frozen=True, slots=True)
class Moderation:
    """How notifications are to be coalesced."""

    max_packets: int = 0
    max_usecs: int = 0


class Effects(Protocol):
    """Carries out what changed, off the fast path."""

    def set_mac(self, mac: bytes) -> None: ...

    def set_pairs(self, pairs: int) -> None:
        """Serve so many pairs."""

    def set_filter(self, state: NetState) -> None:
        """Modes, tables or VLANs changed."""

    def set_rss(self, rss: Rss) -> None: ...

    def set_guest_offloads(self, offloads: Feature) -> None: ...

    def set_moderation(self, queue: int, moderation: Moderation) -> None:
        """Coalesce the notifications of a receive or transmit queue."""

    def set_flow_rules(self, rules: Sequence[Match]) -> None:
        """The flow filter's rules, the first to be tried first (virtio 1.4, 5.1.9.6)."""

    def announced(self) -> None:
        """The driver did what ``NetStatus.ANNOUNCE`` asks for."""

    def is_enabled(self, queue: int) -> bool:
        """Is it a receive or transmit queue that the driver enabled?"""

    def counters(self, queue: int) -> Mapping[str, int] | None:
        """Counters of a receive or transmit queue (``QueueStats``); None: there is no such queue."""


@dataclass(slots=True)
class NetState:
    """What a driver set over the control queue; a device reset forgets it.

    ``filtering``: a mode or a table was set; until then the NIC is promiscuous. ``features``: in force.
    """

    max_pairs: int
    effects: Effects
    features: Feature = NONE
    filtering: bool = False
    modes: dict[RxCommand, bool] = field(default_factory=dict)
    unicast: tuple[bytes, ...] = ()
    multicast: tuple[bytes, ...] = ()
    vlans: set[int] = field(default_factory=set)
    rss: Rss = Rss()
    contexts: dict[int, Rss] = field(default_factory=dict)  # by rss_ctx_id
    moderation: dict[int, Moderation] = field(default_factory=dict)  # by queue, where VQ_SET came last
    common_moderation: dict[bool, Moderation] = field(default_factory=dict)  # of all that transmit, or not
    commands: int = 0
    commands_ok: int = 0

    def clear(self) -> None:
        """As after a reset. What the effects made of it, they forget themselves."""
        self.features = NONE
        self.filtering = False
        self.modes.clear()
        self.unicast = self.multicast = ()
        self.vlans.clear()
        self.rss = Rss()
        self.contexts.clear()
        self.moderation.clear()
        self.common_moderation.clear()
        self.commands = self.commands_ok = 0

    @property
    def control_index(self) -> int | None:
        """Where the features in force put the control queue (5.1.2)."""
        if not self.features & F.NET_CTRL_VQ:
            return None
        return control_queue(self.max_pairs, bool(self.features & (F.NET_MQ | F.NET_RSS)))

    def queue_enabled(self, queue: int) -> None:
        """It begins with what was set for all of its kind (5.1.6.5.9)."""
        self.moderation.pop(queue, None)
        self.effects.set_moderation(queue, self.moderation_of(queue))

    def moderation_of(self, queue: int) -> Moderation:
        """What coalesces the notifications of a queue."""
        transmits = bool(queue % 2)
        return self.moderation.get(queue) or self.common_moderation.get(transmits, Moderation())
