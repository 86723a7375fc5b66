"""What a software NIC can be told, and the features that it offers then. ``device_string.py`` reads the words."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from ..spec.features import NONE, Feature, closed
from .faults import Fault
from .settings import GUEST_OFFLOADS

NEVER_SLEEP = 0xFFFF_FFFF
ADAPTIVE_US = 50  # polls outlast the pauses of a busy guest, and cost an idle one little
SHARED = 0

# What goes over the control queue.
CONTROL = (
    Feature.NET_CTRL_VQ
    | Feature.NET_CTRL_RX
    | Feature.NET_CTRL_RX_EXTRA
    | Feature.NET_CTRL_VLAN
    | Feature.NET_CTRL_MAC_ADDR
    | Feature.NET_CTRL_GUEST_OFFLOADS
    | Feature.NET_GUEST_ANNOUNCE
    | Feature.NET_MQ
    | Feature.NET_RSS
    | Feature.NET_RSS_CONTEXT
    | Feature.NET_HASH_REPORT
    | Feature.NET_HASH_TUNNEL
    | Feature.NET_NOTF_COAL
    | Feature.NET_VQ_NOTF_COAL
    | Feature.NET_DEVICE_STATS
)

# What headers of frames ask for. Of ports that do not carry them, the NIC does it itself.
OFFLOADS = (
    Feature.NET_CSUM
    | Feature.NET_HOST_TSO4
    | Feature.NET_HOST_TSO6
    | Feature.NET_HOST_ECN
    | Feature.NET_HOST_UFO
    | Feature.NET_HOST_USO
    | Feature.NET_HOST_UDP_TUNNEL_GSO
    | Feature.NET_HOST_UDP_TUNNEL_GSO_CSUM
    | Feature.NET_OUT_NET_HEADER
    | Feature.NET_RSC_EXT
    | GUEST_OFFLOADS
)

# What the device can offer; ``off=`` takes some away.
OFFERED = (
    Feature.NET_MTU
    | Feature.NET_MAC
    | Feature.NET_MRG_RXBUF
    | Feature.NET_STATUS
    | Feature.INDIRECT_DESC
    | Feature.EVENT_IDX
    | Feature.VERSION_1
    | Feature.ACCESS_PLATFORM
    | Feature.ORDER_PLATFORM
    | Feature.RING_PACKED
    | Feature.IN_ORDER
    | Feature.NOTIFICATION_DATA
    | Feature.RING_RESET
    | Feature.NET_SPEED_DUPLEX
    | OFFLOADS
    | CONTROL
)


class Port(IntEnum):
    """What the wire does (enum vdp_port in csrc/nic.h)."""

    ECHO = 0
    DISCARD = 1
    GENERATE = 2
    TAP = 3
    PACKET = 4
    PCAP = 5
    LINK = 6


class Model(Enum):
    """``plain`` has no vendor registers; ``ifcvf`` is Intel's FPGA NIC."""

    DEFAULT = "default"
    PLAIN = "plain"
    IFCVF = "ifcvf"


class LmLayout(Enum):
    """Where IFCVF's queue states are: drivers disagree. ``none``: there is no BAR 4."""

    PAIRS = "pairs"
    QUEUES = "queues"
    NONE = "none"


_count = itertools.count()


def fresh_mac() -> bytes:
    """A locally administered address: random between processes, counted within one."""
    return b"\x02" + secrets.token_bytes(4) + (next(_count) & 0xFF).to_bytes(1, "little")


@dataclass(frozen=True, slots=True)
class SoftOptions:
    """Everything that a software NIC can be told. Sizes in bytes, ``poll_us`` in microseconds."""

    port: Port = Port.ECHO
    target: str = ""  # name of the port's interface, file or wire
    capture: str = ""  # pcapng file of all that goes over the wire
    mac: bytes = field(default_factory=fresh_mac)
    mtu: int = 1500
    speed: int = 10_000  # Mbit/s
    queues: int = 1  # receive/transmit pairs
    size: int = 1024  # largest queue size
    poll_us: int = ADAPTIVE_US
    cpus: tuple[int, ...] = ()  # that its workers are pinned to, in turn; none: wherever the scheduler likes
    workers: int = 1  # threads of its own; SHARED: one that it shares
    msix: int | None = None  # None: one for each queue and one for configuration changes
    page_per_vq: bool = False
    notifier: bool = False  # doorbell pages that a guest can be given; each queue has its own then
    ioeventfd: bool = True
    model: Model = Model.DEFAULT
    lm: LmLayout = LmLayout.PAIRS
    reset: bool = True
    suspend: bool = False  # offers VIRTIO_F_SUSPEND (virtio 1.4)
    notif_data: bool = False  # offers VIRTIO_F_NOTIF_CONFIG_DATA: doorbells do not carry the queue's index
    off: Feature = NONE
    frame: int = 60
    sizes: tuple[int, ...] = ()  # of generated frames, in turn; instead of frame
    flows: int = 0  # UDP flows of generated frames, 0: no IP
    pps: int = 0  # frames a second and pair, 0: as fast as it goes
    iova: int = 48  # bits of an I/O address
    msi_hole: bool = False  # x86: 0xfee00000 to 0xfeefffff cannot be mapped
    fault: Fault | None = None
    admin: bool = False  # an administration queue
    strict: bool = True  # what breaks a rule of the driver raises; off: it does nothing, as on most hardware
    mutant: str = ""  # the clause that the NIC breaks (mutants/); then strict is off, unless it is said

    @property
    def vectors(self) -> int:
        """How many MSI-X vectors the function has."""
        return 1 + 2 * self.queues if self.msix is None else self.msix

    def cpu_of(self, worker: int) -> int:
        """Where a worker is pinned, or -1."""
        return self.cpus[worker % len(self.cpus)] if self.cpus else -1

    @property
    def captured(self) -> str:
        """The pcapng file that is written, or nothing."""
        return self.target if self.port is Port.PCAP else self.capture

    @property
    def own_pages(self) -> bool:
        """Does each queue's doorbell have a page to itself?"""
        return self.page_per_vq or self.notifier

    @property
    def features(self) -> Feature:
        """The features offered to the driver."""
        off = self.off
        if self.model is Model.IFCVF:
            off |= (
                CONTROL
                | OFFLOADS
                | Feature.NET_SPEED_DUPLEX
                | Feature.RING_RESET
                | Feature.RING_PACKED
                | Feature.IN_ORDER
                | Feature.NOTIFICATION_DATA
            )
        if not self.reset:
            off |= Feature.RING_RESET
        if self.workers > 1:
            off |= Feature.NET_RSS  # a worker cannot give a frame to another one's queue
        if self.queues == 1:
            off |= Feature.NET_MQ
        if self.port in (Port.TAP, Port.PACKET):
            off |= Feature.NET_HOST_UDP_TUNNEL_GSO  # the kernel's header has no room for a tunnel
        if off & Feature.NET_CTRL_VQ:
            off |= CONTROL  # also what the specification lets stand without a control queue
        own = (
            (Feature.ADMIN_VQ if self.admin else NONE)
            | (Feature.SUSPEND if self.suspend else NONE)
            | (Feature.NOTIF_CONFIG_DATA if self.notif_data else NONE)
        )
        return closed((OFFERED | own) & ~off)
