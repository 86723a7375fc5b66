"""Our driver half gives the software NIC commands, over registers: what they do to frames."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfiodpa.drivers.registry import driver_for
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.errors import CommandRefused, Unsupported
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.guest.queue import DriverQueue
from vfiodpa.guest.traffic import Offload, Plan, run
from vfiodpa.soft.device_string import parse_options
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_net import (
    AnnounceCommand,
    CoalescingCommand,
    CtrlClass,
    GuestOffloadsCommand,
    HashReport,
    HashType,
    MacCommand,
    MqCommand,
    NetHdr,
    NetHdrHash,
    NetStatus,
    RssHead,
    RssTail,
    RxCommand,
    StatsCommand,
    StatsQuery,
    StatsType,
    VlanCommand,
)

F = Feature
SPLIT = F(0)
BASIC = F.VERSION_1 | F.NET_MQ | F.NET_CSUM | F.NET_GUEST_CSUM
OWN, OTHER = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"
FILTERS = F.NET_CTRL_RX | F.NET_CTRL_RX_EXTRA | F.NET_CTRL_MAC_ADDR
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
HASH = 0x51CCC178  # of the flow below, with its ports


class Driver:
    """A guest with two pairs that gives commands."""

    def __init__(self) -> None:
        self.function = SoftFunction(parse_options(f"soft:model=plain,queues=2,mac={OWN.hex(':')}"))
        nic = driver_for(self.function)
        assert isinstance(nic, VirtioPci)
        self.nic = nic
        self.guest = DirectGuest(nic)
        self.header = NetHdr.size

    def start(self, commanded: Feature, layout: Feature = SPLIT) -> None:
        self.nic.commanded = commanded
        self.guest.start(BASIC | layout, pairs=2)
        self.header = NetHdrHash.size if commanded & F.NET_HASH_REPORT else NetHdr.size
        for queue in self.receive:
            for _ in range(4):
                at = self.guest.memory.alloc(2048)
                queue.send(writable=[(at, 2048)], cookie=at)

    @property
    def receive(self) -> list[DriverQueue]:
        return self.guest.queues[::2]

    def send(self, frame: bytes, pair: int = 0) -> None:
        """Returns when the device is done with it."""
        at = self.guest.memory.alloc(2048)
        self.guest.memory.write(at, bytes(self.header) + frame)
        queue = self.guest.queues[2 * pair + 1]
        queue.send(readable=[(at, self.header + len(frame))])
        assert queue.wait(5)

    def got(self, pair: int = 0) -> bytes | None:
        """Header and frame that came back."""
        used = self.receive[pair].pop()
        return self.guest.memory.read(used.cookie, used.length) if used else None

    def close(self) -> None:
        self.guest.close()
        self.function.close()


@pytest.fixture
def driver() -> Iterator[Driver]:
    one = Driver()
    yield one
    one.close()


def frame(to: bytes, vlan: int | None = None) -> bytes:
    tag = b"" if vlan is None else b"\x81\0" + vlan.to_bytes(2, "big")
    return to + OTHER + tag + b"\x88\xb6" + bytes(60)


def tcp() -> bytes:
    """66.9.149.187:2794 to 161.142.100.80:1766."""
    addresses = bytes([66, 9, 149, 187, 161, 142, 100, 80])
    ip = b"\x45\0\0\x28\0\0\0\0\x40\x06\0\0" + addresses
    return OWN + OTHER + b"\x08\0" + ip + (2794).to_bytes(2, "big") + (1766).to_bytes(2, "big") + bytes(16)


def rss(table: list[int], types: HashType = HashType.TCPV4) -> bytes:
    head = RssHead(hash_types=types, indirection_table_mask=len(table) - 1, unclassified_queue=0)
    entries = b"".join(entry.to_bytes(2, "little") for entry in table)
    return head.pack() + entries + RssTail(max_tx_vq=2, hash_key_length=len(KEY)).pack() + KEY


@pytest.mark.parametrize("layout", [F(0), F.RING_PACKED], ids=["split", "packed"])
def test_modes(driver: Driver, layout: Feature) -> None:
    driver.start(FILTERS, layout)
    driver.send(frame(OTHER))
    assert driver.got()  # promiscuous until a mode is set
    driver.nic.command(CtrlClass.RX, RxCommand.PROMISC, b"\0")
    driver.send(frame(OTHER))
    assert driver.got() is None
    driver.send(frame(OWN))
    assert driver.got()
    driver.nic.command(CtrlClass.RX, RxCommand.ALLUNI, b"\1")
    driver.send(frame(OTHER))
    assert driver.got()
    assert driver.function.queue_stats(0)["filtered"] == 1


def test_addresses(driver: Driver) -> None:
    driver.start(FILTERS)
    table = (1).to_bytes(4, "little") + OTHER + bytes(4)
    driver.nic.command(CtrlClass.MAC, MacCommand.TABLE_SET, table)
    driver.send(frame(OTHER))
    assert driver.got()
    driver.nic.command(CtrlClass.MAC, MacCommand.TABLE_SET, bytes(8))
    driver.send(frame(OTHER))
    assert driver.got() is None
    driver.nic.command(CtrlClass.MAC, MacCommand.ADDR_SET, OTHER)
    driver.send(frame(OTHER))
    assert driver.got()


def test_vlans(driver: Driver) -> None:
    driver.start(F.NET_CTRL_VLAN)
    for tag, passes in ((None, True), (0, True), (7, False)):
        driver.send(frame(OTHER, tag))
        assert bool(driver.got()) is passes
    driver.nic.command(CtrlClass.VLAN, VlanCommand.ADD, b"\7\0")
    driver.send(frame(OTHER, 7))
    assert driver.got()
    driver.guest.start(BASIC, pairs=2)  # and a reset forgets it


@pytest.mark.parametrize("layout", [F(0), F.RING_PACKED], ids=["split", "packed"])
def test_rss_and_what_it_reports(driver: Driver, layout: Feature) -> None:
    driver.start(F.NET_RSS | F.NET_HASH_REPORT, layout)
    driver.nic.command(CtrlClass.MQ, MqCommand.RSS_CONFIG, rss([1, 1]))
    driver.send(tcp())
    got = driver.got(1)
    assert got is not None
    header = NetHdrHash.unpack(got[: NetHdrHash.size])
    assert (header.hash_value, header.hash_report, header.num_buffers) == (HASH, HashReport.TCPV4, 1)
    assert got[NetHdrHash.size :] == tcp()
    driver.nic.command(CtrlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\2\0")
    driver.send(tcp())
    assert driver.got(0)  # automatic again: as it was sent


@pytest.mark.parametrize("layout", [F(0), F.RING_PACKED], ids=["split", "packed"])
@pytest.mark.parametrize("segments", [1, 3])
def test_traffic_with_the_longer_header(driver: Driver, layout: Feature, segments: int) -> None:
    """20 bytes with HASH_REPORT, and in it the hash of what is TCP."""
    driver.start(F.NET_RSS | F.NET_HASH_REPORT, layout)
    driver.guest.start(BASIC | layout, pairs=2)
    driver.nic.command(CtrlClass.MQ, MqCommand.RSS_CONFIG, rss([0, 0]))
    for offload, hashed in ((Offload.PLAIN, 0), (Offload.CSUM, 100)):
        plan = Plan((60, 1400), pairs=1, count=100, offload=offload, segments=segments, receive_buffer=2048)
        done = run(driver.guest, plan, seconds=5)
        assert (done.clean, done.total.received, done.total.hashed) == (True, 100, hashed), done


def test_guest_offloads(driver: Driver) -> None:
    driver.start(F.NET_CTRL_GUEST_OFFLOADS)
    plan = Plan(200, pairs=1, count=100, offload=Offload.CSUM)
    driver.guest.start(BASIC, pairs=2)
    driver.nic.command(CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, bytes(8))
    done = run(driver.guest, plan, seconds=5)
    assert (done.clean, done.total.offloaded) == (True, 0)
    driver.nic.command(CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, int(F.NET_GUEST_CSUM).to_bytes(8, "little"))
    done = run(driver.guest, plan, seconds=5)
    assert (done.clean, done.total.offloaded) == (True, 100)


def test_coalescing_and_statistics(driver: Driver) -> None:
    driver.start(F.NET_NOTF_COAL | F.NET_VQ_NOTF_COAL | F.NET_DEVICE_STATS)
    nic, values = driver.nic, bytes(range(8))
    nic.command(CtrlClass.NOTF_COAL, CoalescingCommand.TX_SET, values)
    assert nic.command(CtrlClass.NOTF_COAL, CoalescingCommand.VQ_GET, b"\1\0\0\0", room=8) == values
    driver.send(frame(OTHER))
    ask = StatsQuery(vq_index=1, types_bitmap=1 << StatsType.TX_BASIC).pack()
    answer = nic.command(CtrlClass.STATS, StatsCommand.GET, ask, room=48)
    assert (answer[0], answer[16:24]) == (StatsType.TX_BASIC, (1).to_bytes(8, "little"))  # one frame
    assert int.from_bytes(nic.command(CtrlClass.STATS, StatsCommand.QUERY, room=8), "little") & 1


def test_announcement(driver: Driver) -> None:
    driver.start(F.NET_GUEST_ANNOUNCE)
    before = driver.nic.status
    driver.function.ask_to_announce()
    status = driver.nic.read_config()["status"]
    assert isinstance(status, int)
    assert NetStatus(status) == NetStatus.ANNOUNCE | NetStatus.LINK_UP
    driver.nic.command(CtrlClass.ANNOUNCE, AnnounceCommand.ACK)
    assert driver.nic.read_config()["status"] == NetStatus.LINK_UP
    assert driver.nic.status == before


def test_refused(driver: Driver) -> None:
    driver.start(F.NET_RSS)
    with pytest.raises(CommandRefused, match="RSS_CONFIG"):
        driver.nic.command(CtrlClass.MQ, MqCommand.RSS_CONFIG, rss([0] * 1024))
    with pytest.raises(CommandRefused, match="PROMISC"):
        driver.nic.command(CtrlClass.RX, RxCommand.PROMISC, b"\1")


def test_without_a_control_queue() -> None:
    function = SoftFunction(parse_options("soft:queues=2"))
    nic = driver_for(function)
    assert isinstance(nic, VirtioPci)
    with pytest.raises(Unsupported, match="no control queue of ours"):
        nic.command(CtrlClass.RX, RxCommand.PROMISC, b"\1")
    nic.close()
    function.close()
