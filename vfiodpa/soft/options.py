"""What a device string says: ``soft[:key=value,...]``, for example ``soft:port=echo,queues=2``.

Ref: docs/reference/software-nic.md. An unknown key or a bad value is a ``UsageError`` that lists
what is legal.
"""

from __future__ import annotations

import difflib
import itertools
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

from ..errors import UsageError
from ..spec.features import NONE, Feature, closed, names, parse
from ..spec.ifcvf import MAX_PAIRS as IFCVF_PAIRS
from ..spec.virtio_net import MAX_MTU, MIN_MTU
from ..spec.virtio_ring import MAX_QUEUE_SIZE, split_size_ok
from .faults import Fault
from .settings import GUEST_OFFLOADS
from .workers import parse_cpus

PREFIX = "soft"
MAX_PAIRS = 128
MAX_SPEED = 0x7FFF_FFFF  # Mbit/s
MAX_VECTORS = 2048  # PCI 3.0, 6.8.2
NEVER_SLEEP = 0xFFFF_FFFF
FRAME = (60, 65535)  # bytes of a generated frame
MAX_SIZES = 16  # VDP_NIC_MAX_SIZES in csrc/nic.h
MAX_LINK_PAIRS = 64  # wire_link.py
ADAPTIVE_US = 50  # polls outlast the pauses of a busy guest, and cost an idle one little
POLL_WORDS = {"busy": NEVER_SLEEP, "adaptive": ADAPTIVE_US, "sleep": 0}
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


def _number(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        value = int(text, 0)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return convert


def _switch(text: str) -> bool:
    return {"on": True, "off": False}[text]


def _mac(text: str) -> bytes:
    mac = bytes(int(part, 16) for part in text.split(":"))
    if len(mac) != 6 or mac[0] & 1 or not any(mac):
        raise ValueError(text)
    return mac


def _interface(text: str) -> str:
    """Linux, dev_valid_name()."""
    if not 1 <= len(text.encode()) <= 15 or text in (".", "..") or any(c in "/:" or c.isspace() for c in text):
        raise ValueError(text)
    return text


def _wire(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", text):
        raise ValueError(text)
    return text


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(text)
    return text


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(_number(*FRAME)(one) for one in text.split("+"))
    if len(sizes) > MAX_SIZES:
        raise ValueError(text)
    return sizes


def _size(text: str) -> int:
    size = int(text)
    if not split_size_ok(size):
        raise ValueError(text)
    return size


def _poll(text: str) -> int:
    return POLL_WORDS[text] if text in POLL_WORDS else _number(0, 1_000_000)(text)


def _cpus(text: str) -> tuple[int, ...]:
    return parse_cpus(text, between="+")


def _workers(text: str) -> int:
    return SHARED if text == "shared" else _number(1, MAX_PAIRS)(text)


def _features(text: str) -> Feature:
    off = NONE
    for one in text.split("+"):
        off |= parse(one)
    if off & ~_MAY_BE_OFF:
        raise ValueError(text)
    return off


@dataclass(frozen=True, slots=True)
class _Key:
    convert: Callable[[str], Any]
    legal: str
    attribute: str = ""


_MAY_BE_OFF = OFFERED & ~Feature.VERSION_1  # there is no legacy interface to fall back to
_ON_OFF = "on or off"

# fmt: off
_KEYS = {
    "port":        _Key(lambda text: Port[text.upper()], ", ".join(p.name.lower() for p in Port)),
    "tap":         _Key(_interface, "the name of a tap interface"),
    "packet":      _Key(_interface, "the name of an interface"),
    "pcap":        _Key(_path, "a file"),
    "link":        _Key(_wire, "letters, digits, dots, dashes"),
    "capture":     _Key(_path, "a file"),
    "mac":         _Key(_mac, "a unicast address such as 52:54:00:00:00:01"),
    "mtu":         _Key(_number(MIN_MTU, MAX_MTU), f"{MIN_MTU} to {MAX_MTU}"),
    "speed":       _Key(_number(0, MAX_SPEED), f"Mbit/s up to {MAX_SPEED}"),
    "queues":      _Key(_number(1, MAX_PAIRS), f"1 to {MAX_PAIRS} queue pairs"),
    "size":        _Key(_size, f"a power of two up to {MAX_QUEUE_SIZE}"),
    "poll":        _Key(_poll, "busy, adaptive, sleep, or microseconds up to 1000000", "poll_us"),
    "workers":     _Key(_workers, f"1 to {MAX_PAIRS} threads, or shared"),
    "cpus":        _Key(_cpus, "CPUs such as 2 or 2+3-5"),
    "cpu":         _Key(_cpus, "the same as cpus", "cpus"),
    "msix":        _Key(_number(0, MAX_VECTORS), f"0 to {MAX_VECTORS} vectors"),
    "page_per_vq": _Key(_switch, _ON_OFF),
    "notifier":    _Key(_switch, _ON_OFF),
    "ioeventfd":   _Key(_switch, _ON_OFF),
    "model":       _Key(Model, ", ".join(m.value for m in Model)),
    "lm":          _Key(LmLayout, ", ".join(m.value for m in LmLayout)),
    "reset":       _Key(_switch, _ON_OFF),
    "suspend":     _Key(_switch, _ON_OFF),
    "notif_data":  _Key(_switch, _ON_OFF),
    "off":         _Key(_features, "+".join(name.lower() for name in names(_MAY_BE_OFF))),
    "frame":       _Key(_number(*FRAME), "60 to 65535 bytes"),
    "sizes":       _Key(_sizes, f"up to {MAX_SIZES} sizes such as 60+576+1514, each 60 to 65535 bytes"),
    "flows":       _Key(_number(1, 1 << 16), "1 to 65536 UDP flows"),
    "pps":         _Key(_number(0, 1 << 40), "frames a second, 0 for as fast as it goes"),
    "iova":        _Key(_number(32, 64), "32 to 64 bits"),
    "msi_hole":    _Key(_switch, _ON_OFF),
    "fault":       _Key(Fault, ", ".join(f.value for f in Fault)),
    "admin":       _Key(_switch, _ON_OFF),
    "strict":      _Key(_switch, _ON_OFF),
    "mutant":      _Key(str.upper, "a clause that has one: vfiodpa validate --list"),
}
# fmt: on


def parse_options(text: str) -> SoftOptions:
    """Options of a device string (``soft`` or ``soft:key=value,...``). Raises ``UsageError``."""
    kind, _, rest = text.partition(":")
    if kind != PREFIX:
        raise UsageError(f"{text!r} is no software NIC", remedy="soft or soft:key=value,...")
    values: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        attribute, value = _item(item)
        if attribute in values:
            raise UsageError(f"{item!r}: the key is given twice")
        values[attribute] = value
    _choose_port(values)
    _check_generate(values)
    if values.get("notifier") and values.get("page_per_vq") is False:
        raise UsageError("notifier=on gives each queue a doorbell page: it cannot be with page_per_vq=off")
    _check_workers(values)
    _check_ifcvf(values)
    values.setdefault("strict", "mutant" not in values)
    return SoftOptions(**values)


_NAMED = {port.name.lower(): port for port in (Port.TAP, Port.PACKET, Port.PCAP, Port.LINK)}


def _choose_port(values: dict[str, Any]) -> None:
    """``tap=NAME`` is ``port=tap`` and its name; there is exactly one port."""
    named = [key for key in _NAMED if key in values]
    if len(named) > 1:
        raise UsageError(f"{named[0]}= and {named[1]}= are two ports: a NIC has one")
    port: Port | None = values.get("port")
    if named:
        if port is not None and port is not _NAMED[named[0]]:
            raise UsageError(f"port={port.name.lower()} and {named[0]}= are two ports: a NIC has one")
        values["port"] = _NAMED[named[0]]
        values["target"] = values.pop(named[0])
    elif port is not None and port.name.lower() in _NAMED:
        raise UsageError(f"port={port.name.lower()} wants a name", remedy=f"{port.name.lower()}=NAME")
    if values.get("port") is Port.PCAP and "capture" in values:
        raise UsageError("pcap= captures all there is: it cannot be with capture=")
    if values.get("port") is Port.LINK and values.get("queues", 1) > MAX_LINK_PAIRS:
        raise UsageError(f"link= has up to {MAX_LINK_PAIRS} queue pairs")


def _check_generate(values: dict[str, Any]) -> None:
    if {"frame", "sizes", "flows", "pps"} & values.keys() and values.get("port") is not Port.GENERATE:
        raise UsageError("frame=, sizes=, flows= and pps= are for port=generate only")
    if {"frame", "sizes"} <= values.keys():
        raise UsageError("frame= is one size, sizes= are many: it cannot be both")


def _check_workers(values: dict[str, Any]) -> None:
    if values.get("workers", 1) > values.get("queues", 1):
        raise UsageError("workers= is more than queues=: a pair is served by one worker")
    if values.get("workers") == SHARED and "cpus" in values:
        raise UsageError("workers=shared: where those threads run is not for one device to say")


def _check_ifcvf(values: dict[str, Any]) -> None:
    if values.get("model") is not Model.IFCVF:
        if "lm" in values:
            raise UsageError("lm= is for model=ifcvf only")
        return
    if values.get("admin"):
        raise UsageError("model=ifcvf has no administration queue")
    if values.get("suspend"):
        raise UsageError("model=ifcvf has no SUSPEND: it is older")
    if values.get("notif_data"):
        raise UsageError("model=ifcvf has no NOTIF_CONFIG_DATA: it is older")
    if values.get("reset"):
        raise UsageError("model=ifcvf has no RING_RESET: it stops queues by its own means")
    if values.get("queues", 1) > IFCVF_PAIRS:
        raise UsageError(f"model=ifcvf has up to {IFCVF_PAIRS} queue pairs")


def _item(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition("=")
    key = _KEYS.get(name)
    if key is None or not equals:
        near = difflib.get_close_matches(name.strip(), _KEYS, 1)
        raise UsageError(
            f"{item!r} is no key=value of the software NIC",
            cause="keys: " + ", ".join(_KEYS),
            remedy=f"{near[0]}={value or 'VALUE'}" if near else "",
        )
    try:
        return key.attribute or name, key.convert(value)
    except (ValueError, KeyError, UsageError) as error:
        raise UsageError(f"{item!r} makes no sense", cause=f"legal: {key.legal}") from error
