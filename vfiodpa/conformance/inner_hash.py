"""Hashes over the inner headers of tunnels (N-IHH). Ref: virtio 1.3, 5.1.6.5.5.4"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_net import Ack, CtrlClass, HashTunnelCommand, HashType, MqCommand, TunnelType
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.control import Answer, Control
from ..validate.frames import TCP, Flow, flow_frame, fresh_mark, packet
from ..validate.toeplitz import KEY, flow_hash
from ..validate.traffic import Receiver, own_mac
from ..validate.verdict import Refused
from .control_queue import hash_config, rss_config

REPORTED = Feature.NET_HASH_TUNNEL | Feature.NET_HASH_REPORT
HASHES = HashType.IPV4 | HashType.TCPV4 | HashType.UDPV4
INNER = Flow(5100, 6100, 7, protocol=TCP)
VXLAN, GENEVE = Flow(50000, 4789, 9), Flow(50001, 6081, 9)
# Headers between UDP and the inner frame: VXLAN with an identifier, GENEVE with Ethernet inside.
VXLAN_HEADER, GENEVE_HEADER = b"\x08\0\0\0\0\0\x07\0", b"\0\0\x65\x58\0\0\x07\0"


class Hashed:
    """A running device that reports hashes."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.control = Control.start(bench, int(REPORTED | Feature.NET_RSS))
        self.receiver = Receiver(bench)
        self.supported = int(bench.device.net.supported_tunnel_types)
        self.types = int(bench.device.net.supported_hash_types) & int(HASHES)
        if bench.device.features & Feature.NET_RSS:
            self.control.set(CtrlClass.MQ, MqCommand.RSS_CONFIG, rss_config(self.types, [0] * 128, 0, 1, KEY))
        else:
            self.control.set(CtrlClass.MQ, MqCommand.HASH_CONFIG, hash_config(self.types, KEY))

    def tunnels(self, types: int) -> Answer:
        """HASH_TUNNEL_SET."""
        return self.control.ask(CtrlClass.HASH_TUNNEL, HashTunnelCommand.SET, types.to_bytes(4, "little"))

    def hash_of(self, flow: Flow, header: bytes = b"") -> int | None:
        """What is reported for a frame of a flow, or of a tunnel; ``None``: no hash."""
        mark, mac = fresh_mark(), own_mac(self.bench)
        frame = packet(flow, header + flow_frame(INNER, mark), to=mac) if header else flow_frame(flow, mark, to=mac)
        self.bench.wire.send(frame)
        got = self.receiver.must_get(mark, "a frame to its own address")
        return int(got.header.hash_value) if int(got.header.hash_report) else None

    def must_be_outer(self, flow: Flow, header: bytes, what: str) -> None:
        """Raise ``Deviation`` unless the hash is of the outer headers."""
        found, right = self.hash_of(flow, header), flow_hash(flow, self.types)
        self.bench.must(found == right, f"{what}: the hash is {_hex(found)}, of the outer headers it is {_hex(right)}")


def _hex(value: int | None) -> str:
    return "missing" if value is None else f"{value:#010x}"


@check("N-IHH-1", features=REPORTED)
def other_frames_are_hashed_outside(bench: Bench) -> None:
    """What is in no enabled tunnel has the hash of its outer headers."""
    hashed = Hashed(bench)
    enabled = hashed.supported & ~int(TunnelType.GENEVE)
    answer = hashed.tunnels(enabled)
    if not answer.ok:
        raise Refused(f"the supported tunnel types {enabled:#x} cannot be enabled: {answer}")
    hashed.must_be_outer(INNER, b"", "a frame in no tunnel")
    hashed.must_be_outer(GENEVE, GENEVE_HEADER, "a frame in a GENEVE tunnel, which is not enabled")


@check("N-IHH-2")
def tunnels_that_are_not_supported(bench: Bench) -> None:
    """Tunnel types that are not supported are refused."""
    hashed = Hashed(bench)
    for bit in range(32):
        if not hashed.supported >> bit & 1:
            answer = hashed.tunnels(1 << bit | hashed.supported)
            bench.must(answer.ack == Ack.ERR, f"tunnel type {bit} is not among {hashed.supported:#x}: {answer}")


@check("N-IHH-3", features=REPORTED)
def inner_hash_is_turned_off(bench: Bench) -> None:
    """With no tunnel type enabled, and after a reset, all hashes are of outer headers."""
    for how in ("no tunnel type enabled", "a reset"):
        hashed = Hashed(bench)
        if hashed.supported & TunnelType.VXLAN:
            hashed.tunnels(int(TunnelType.VXLAN))
            inside = hashed.hash_of(VXLAN, VXLAN_HEADER) == flow_hash(INNER, hashed.types)
            bench.note(f"with VXLAN enabled, the hash is {'that of' if inside else 'not that of'} the inner headers")
        if how == "a reset":
            hashed = Hashed(bench)
        else:
            hashed.tunnels(0)
        hashed.must_be_outer(VXLAN, VXLAN_HEADER, f"a frame in a VXLAN tunnel, after {how}")
