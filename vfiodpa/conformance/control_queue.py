"""The control queue itself (U-7), bounds (U-9), and commands of which the acknowledgement tells enough.

N-RXF-1, N-RXF-5, N-MAC-3, N-GARP-1, X-8, X-12. Ref: virtio 1.3, 5.1.6.5
"""

from __future__ import annotations

import struct

from ..spec.features import Feature
from ..spec.virtio_net import (
    Ack,
    AnnounceCommand,
    CtrlClass,
    HashHead,
    HashType,
    MacCommand,
    MqCommand,
    NetStatus,
    RssHead,
    RssTail,
    RxCommand,
    VqPairs,
)
from ..spec.virtio_pci import DeviceStatus
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.control import Control
from ..validate.traffic import own_mac
from ..validate.verdict import NotApplicable

UNKNOWN = ((0x7F, 0), (0xFF, 0xFF), (CtrlClass.RX, 0x7F), (CtrlClass.MAC, 0xFF))
MANY = 12  # commands of three descriptors each: the ring has 64
NEW_MAC = b"\x02\x00\x00\xc0\xff\xee"
KEY = bytes(range(40))


@check("U-7", rude=True)
def commands_of_any_shape(bench: Bench) -> None:
    """Unknown commands are refused; a command's shape does not matter; many at once are all answered."""
    control = Control.start(bench, Feature.NET_CTRL_RX | Feature.NET_CTRL_MAC_ADDR)
    for klass, command in UNKNOWN:
        answer = control.ask(klass, command)
        bench.must(answer.ack == Ack.ERR, f"class {klass:#x}, command {command:#x} does not exist: {answer}")
    legal = _harmless(bench)
    for pieces in ([legal], [legal[:1], legal[1:2], legal[2:]], [legal[at : at + 1] for at in range(len(legal))]):
        answer = control.ask_raw(pieces, [1])
        bench.must(answer.ok, f"a command in pieces of {[len(piece) for piece in pieces]} bytes: {answer}")
    answer = control.ask_raw([legal[:-1]], [1])
    bench.must(answer.ack == Ack.ERR, f"a command that is cut short: {answer}")
    bench.note(f"a command with 4 bytes too many: {control.ask_raw([legal + bytes(4)], [1])}")
    answer = control.ask_raw([legal], [4])
    bench.must(answer.ok and answer.length == 1, f"with room for more than an ack: {answer}, {answer.length} bytes")
    _batch(bench, control, legal)
    _headless(bench, control, legal)


def _headless(bench: Bench, control: Control, legal: bytes) -> None:
    """A command that is not even a class and a number: refused, or the device says that it was broken."""
    pending = control.offer([legal[:1]], [1])
    control.ring.publish()
    bench.device.bell(control.index)

    def broken() -> bool:
        return bool(bench.device.status & DeviceStatus.NEEDS_RESET)

    used = bench.wait(lambda: control.ring.used() or broken(), "the answer to a command of one byte")
    ack = bench.memory.read(pending.gpa, 1)[0]
    bench.must(used and (broken() or ack == Ack.ERR), f"a command of one byte: ack {ack:#x}, NEEDS_RESET {broken()}")
    bench.note(f"a command of one byte: {'NEEDS_RESET' if broken() else 'refused'}")


def _harmless(bench: Bench) -> bytes:
    """A command with data that changes nothing that matters; raises ``NotApplicable``."""
    if bench.device.features & Feature.NET_CTRL_RX:
        return bytes([CtrlClass.RX, RxCommand.ALLMULTI, 1])
    if bench.device.features & Feature.NET_CTRL_MAC_ADDR:
        return bytes([CtrlClass.MAC, MacCommand.ADDR_SET]) + own_mac(bench)
    raise NotApplicable("the device has neither CTRL_RX nor CTRL_MAC_ADDR: there is no harmless command")


def _batch(bench: Bench, control: Control, legal: bytes) -> None:
    unknown = bytes(UNKNOWN[0])
    sent = [control.offer([unknown if at % 3 == 2 else legal], [1]) for at in range(MANY)]
    for at, answer in enumerate(control.answers(sent)):
        right = Ack.ERR if at % 3 == 2 else Ack.OK
        bench.must(answer.ack == right, f"command {at} of {MANY} under one doorbell: {answer}, it has to be {right}")


@check("U-9")
def pairs_out_of_bounds(bench: Bench) -> None:
    """VQ_PAIRS_SET of 0, or of more pairs than there are, is refused."""
    control = Control.start(bench, Feature.NET_MQ)
    most = bench.pairs
    for pairs in (0, most + 1, 0x8001, 0xFFFF):
        if pairs and pairs <= most:
            continue
        answer = control.ask(CtrlClass.MQ, MqCommand.VQ_PAIRS_SET, VqPairs(virtqueue_pairs=pairs).pack())
        bench.must(answer.ack == Ack.ERR, f"VQ_PAIRS_SET {pairs}, where there are 1 to {most}: {answer}")


def _modes(bench: Bench, control: Control, modes: tuple[RxCommand, ...]) -> None:
    for mode in modes:
        for value in (1, 0):
            answer = control.ask(CtrlClass.RX, mode, bytes([value]))
            bench.must(answer.ok, f"{mode.name} {value}: {answer}")


@check("N-RXF-1")
def promiscuous_and_all_multicast(bench: Bench) -> None:
    """With CTRL_RX, PROMISC and ALLMULTI are understood, on and off."""
    _modes(bench, Control.start(bench, Feature.NET_CTRL_RX), (RxCommand.PROMISC, RxCommand.ALLMULTI))


@check("N-RXF-5")
def extra_modes(bench: Bench) -> None:
    """With CTRL_RX_EXTRA, ALLUNI, NOMULTI, NOUNI and NOBCAST are understood, on and off."""
    control = Control.start(bench, Feature.NET_CTRL_RX | Feature.NET_CTRL_RX_EXTRA)
    _modes(bench, control, (RxCommand.ALLUNI, RxCommand.NOMULTI, RxCommand.NOUNI, RxCommand.NOBCAST))


@check("N-MAC-3", features=Feature.NET_MAC)
def address_is_in_configuration(bench: Bench) -> None:
    """After MAC_ADDR_SET the new address stands in the configuration, from the used buffer on."""
    control = Control.start(bench, Feature.NET_CTRL_MAC_ADDR | Feature.NET_MAC)
    before = own_mac(bench)
    for mac in (NEW_MAC, before):
        answer = control.ask(CtrlClass.MAC, MacCommand.ADDR_SET, mac)
        bench.must(answer.ok, f"MAC_ADDR_SET: {answer}")
        now = own_mac(bench)
        bench.must(now == mac, f"MAC_ADDR_SET {mac.hex(':')} was used, and mac reads {now.hex(':')}")


@check("N-GARP-1", wire=False)
def announcement_is_acknowledged(bench: Bench) -> None:
    """ANNOUNCE_ACK clears S_ANNOUNCE before it is used."""
    control = Control.start(bench, Feature.NET_GUEST_ANNOUNCE | Feature.NET_STATUS)
    if not bench.device.features & Feature.NET_STATUS:
        raise NotApplicable("the device has no status: it can ask for nothing")
    asked = bool(bench.device.net.status & NetStatus.ANNOUNCE)
    answer = control.ask(CtrlClass.ANNOUNCE, AnnounceCommand.ACK)
    bench.must(not bench.device.net.status & NetStatus.ANNOUNCE, "ANNOUNCE_ACK was used, and S_ANNOUNCE is still set")
    if not asked and not answer.ok:
        raise NotApplicable("the device did not ask for announcements, and refuses an acknowledgement unasked")
    bench.must(answer.ok, f"ANNOUNCE_ACK: {answer}")
    if not asked:
        bench.note("the device had not asked for announcements: only the acknowledgement was tried")


def _hash_types(bench: Bench) -> int:
    return int(bench.device.net.supported_hash_types) & int(HashType.IPV4 | HashType.TCPV4)


def rss_config(types: int, table: list[int], unclassified: int, transmit: int, key: bytes) -> bytes:
    """The data of RSS_CONFIG."""
    head = RssHead(hash_types=types, indirection_table_mask=len(table) - 1, unclassified_queue=unclassified)
    tail = RssTail(max_tx_vq=transmit, hash_key_length=len(key))
    return head.pack() + struct.pack(f"<{len(table)}H", *table) + tail.pack() + key


def hash_config(types: int, key: bytes) -> bytes:
    """The data of HASH_CONFIG."""
    return HashHead(hash_types=types, hash_key_length=len(key)).pack() + key


@check("X-8")
def hashes_are_configured(bench: Bench) -> None:
    """With HASH_REPORT, RSS_CONFIG is understood where RSS is offered, else HASH_CONFIG; with one pair too."""
    control = Control.start(bench, Feature.NET_HASH_REPORT | Feature.NET_RSS)
    if bench.device.features & Feature.NET_RSS:
        command, data = MqCommand.RSS_CONFIG, rss_config(_hash_types(bench), [0] * 128, 0, 1, KEY)
    else:
        command, data = MqCommand.HASH_CONFIG, hash_config(_hash_types(bench), KEY)
    answer = control.ask(CtrlClass.MQ, command, data)
    bench.must(answer.ok, f"{command.name}: {answer}")


@check("X-12", features=Feature.NET_MQ)
def some_hash_command(bench: Bench) -> None:
    """With HASH_REPORT and automatic steering, HASH_CONFIG is understood."""
    control = Control.start(bench, Feature.NET_HASH_REPORT | Feature.NET_MQ)
    answer = control.ask(CtrlClass.MQ, MqCommand.HASH_CONFIG, hash_config(_hash_types(bench), KEY))
    bench.must(answer.ok, f"HASH_CONFIG: {answer}")
