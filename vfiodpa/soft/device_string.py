"""What a device string says: ``soft[:key=value,...]``, for example ``soft:port=echo,queues=2``.

Ref: docs/reference/software-nic.md. An unknown key or a bad value is a ``UsageError`` that lists
what is legal.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..spec.features import NONE, Feature, names, parse
from ..spec.ifcvf import MAX_PAIRS as IFCVF_PAIRS
from ..spec.virtio_net import MAX_MTU, MIN_MTU
from ..spec.virtio_ring import MAX_QUEUE_SIZE, split_size_ok
from .faults import Fault
from .options import ADAPTIVE_US, NEVER_SLEEP, OFFERED, SHARED, LmLayout, Model, Port, SoftOptions
from .workers import parse_cpus

PREFIX = "soft"
MAX_PAIRS = 128
MAX_SPEED = 0x7FFF_FFFF  # Mbit/s
MAX_VECTORS = 2048  # PCI 3.0, 6.8.2
FRAME = (60, 65535)  # bytes of a generated frame
MAX_SIZES = 16  # VDP_NIC_MAX_SIZES in csrc/nic.h
MAX_LINK_PAIRS = 64  # wire_link.py
POLL_WORDS = {"busy": NEVER_SLEEP, "adaptive": ADAPTIVE_US, "sleep": 0}


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
