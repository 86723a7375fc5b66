"""Device configuration of a network device, as registers show it (CFG, N-CFG). Ref: virtio 1.3, 2.5 and 5.1.4"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..spec.features import Feature
from ..spec.virtio_net import DUPLEX_UNKNOWN, MIN_MTU, SPEED_UNKNOWN
from ..validate.bench import TX, Bench
from ..validate.check import check
from ..validate.identity import FIELDS
from ..validate.link import is_up
from ..validate.verdict import NotApplicable

F = Feature
MAX_PAIRS = 0x8000
MAX_SPEED = 0x7FFF_FFFF  # Mbit/s; the clause has a digit too many
MIN_KEY, MIN_TABLE = 40, 128
IPV6_MTU = 1280


def _fields(bench: Bench) -> dict[str, object]:
    """All fields that the offered features bring, under one generation."""
    device, offered = bench.device, bench.device.offered

    def read() -> tuple[int, dict[str, object]]:
        found: dict[str, object] = {}
        if offered & F.NET_MAC:
            found["mac"] = bytes(device.net.mac[at] for at in range(6)).hex(":")
        found |= {name: int(getattr(device.net, name)) for name, needs in FIELDS.items() if offered & needs}
        return int(device.common.config_generation), found

    for _ in range(100):
        before = int(device.common.config_generation)
        after, found = read()
        if before == after:
            return found
    raise NotApplicable("the configuration changes all the time")


@check("CFG-1")
def configuration_before_features_ok(bench: Bench) -> None:
    """Every field of an offered feature reads before FEATURES_OK what it reads after it."""
    bench.device.to_driver()
    before = _fields(bench)
    bench.must(bench.device.accept(int(bench.usual(int(F.NET_MAC)))), "the plainest features are refused")
    after = _fields(bench)
    for name, value in after.items():
        bench.must(before[name] == value, f"{name} reads {before[name]} before FEATURES_OK, {value} after it")


@check("N-CFG-1")
def number_of_pairs(bench: Bench) -> None:
    """``max_virtqueue_pairs`` is 1 to 0x8000."""
    pairs = int(bench.device.net.max_virtqueue_pairs)
    bench.must(1 <= pairs <= MAX_PAIRS, f"max_virtqueue_pairs is {pairs}")


@check("N-CFG-2")
def smallest_mtu(bench: Bench) -> None:
    """``mtu`` is 68 to 65535."""
    mtu = int(bench.device.net.mtu)
    bench.must(mtu >= MIN_MTU, f"mtu is {mtu}")


@check("N-CFG-3")
def an_mtu_for_ipv6(bench: Bench) -> None:
    """``mtu`` is at least 1280."""
    mtu = int(bench.device.net.mtu)
    bench.must(mtu >= IPV6_MTU, f"mtu is {mtu}")


def _constant(bench: Bench, read: Callable[[], object], what: str) -> None:
    """Raise ``Deviation`` when it changes during initialisation, traffic or a reset."""
    bench.device.reset()
    first = read()
    bench.must(read() == first, f"{what} changes by itself")
    bench.device.to_driver()
    bench.must(read() == first, f"{what} was {first}, and is {read()} once DRIVER is set")
    bench.start()
    for _ in range(8):
        bench.send(bench.ring(TX))
        bench.wait_used(bench.ring(TX))
        bench.must(read() == first, f"{what} was {first}, and is {read()} amid traffic")
    bench.still(read, f"{what} changes")
    bench.device.reset()
    bench.must(read() == first, f"{what} was {first}, and is {read()} after a reset")


@check("N-CFG-4")
def the_mtu_stays(bench: Bench) -> None:
    """``mtu`` stays what it is, through traffic and resets."""
    _constant(bench, lambda: int(bench.device.net.mtu), "mtu")


@check("N-CFG-7")
def room_for_an_rss_key(bench: Bench) -> None:
    """``rss_max_key_size`` is at least 40."""
    if not bench.device.offered & (F.NET_RSS | F.NET_HASH_REPORT):
        raise NotApplicable("the device offers neither RSS nor HASH_REPORT")
    size = int(bench.device.net.rss_max_key_size)
    bench.must(size >= MIN_KEY, f"rss_max_key_size is {size}")


@check("N-CFG-8")
def room_for_an_indirection_table(bench: Bench) -> None:
    """``rss_max_indirection_table_length`` is at least 128."""
    length = int(bench.device.net.rss_max_indirection_table_length)
    bench.must(length >= MIN_TABLE, f"rss_max_indirection_table_length is {length}")


@check("N-CFG-10")
def speed(bench: Bench) -> None:
    """``speed`` is up to 0x7fffffff, or unknown (0xffffffff)."""
    bench.negotiate(F.NET_SPEED_DUPLEX)
    value = int(bench.device.net.speed)
    bench.must(value <= MAX_SPEED or value == SPEED_UNKNOWN, f"speed is {value:#x}")


@check("N-CFG-11")
def duplex(bench: Bench) -> None:
    """``duplex`` is 0, 1 or unknown (0xff)."""
    bench.negotiate(F.NET_SPEED_DUPLEX)
    value = int(bench.device.net.duplex)
    bench.must(value in (0, 1, DUPLEX_UNKNOWN), f"duplex is {value:#x}")


@check("N-CFG-12")
def speed_stays_while_the_link_is_up(bench: Bench) -> None:
    """``speed`` and ``duplex`` stay what they are while the link is up."""
    bench.start(F.NET_SPEED_DUPLEX | F.NET_STATUS)
    net = bench.device.net
    if bench.device.features & F.NET_STATUS and not is_up(bench):
        raise NotApplicable("the link is down")
    first = int(net.speed), int(net.duplex)
    end = time.monotonic() + bench.silence
    while time.monotonic() < end:
        bench.send(bench.ring(TX))
        bench.wait_used(bench.ring(TX))
        now = int(net.speed), int(net.duplex)
        bench.must(now == first, f"speed and duplex were {first}, and are {now} with the link up")


@check("N-CFG-13")
def hash_report_has_a_control_queue(bench: Bench) -> None:
    """HASH_REPORT is not offered without CTRL_VQ."""
    bench.must(bench.device.offered & F.NET_CTRL_VQ, "HASH_REPORT is offered, CTRL_VQ is not")


@check("N-CFG-14")
def receive_modes_have_a_control_queue(bench: Bench) -> None:
    """CTRL_RX_EXTRA is not offered without CTRL_VQ."""
    bench.must(bench.device.offered & F.NET_CTRL_VQ, "CTRL_RX_EXTRA is offered, CTRL_VQ is not")
