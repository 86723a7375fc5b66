"""Which receive queue a frame goes to: automatic steering (N-MQ, X-9, X-10) and RSS (N-RSS).

Ref: virtio 1.3, 5.1.6.5.6.1 and 5.1.6.5.7.2
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from ..spec.features import Feature
from ..spec.virtio_net import CtrlClass, HashType, MqCommand, rx_queue, tx_queue
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.control import Control
from ..validate.frames import OTHER, TCP, UDP, Flow, flow_frame, fresh_mark, plain, reply
from ..validate.toeplitz import KEY, flow_hash
from ..validate.traffic import Got, Receiver, own_mac, transmit
from ..validate.verdict import NotApplicable, Refused
from .control_queue import rss_config

FIRST, SECOND = rx_queue(0), rx_queue(1)
QUEUES = (rx_queue(0), tx_queue(0), rx_queue(1), tx_queue(1))
# What comes back in a flow is known only of protocols that go both ways.
FLOWS = tuple(Flow(1000 + 17 * at, 2000, at + 1, protocol=TCP) for at in range(8))
BUFFERS = 64
ENTRIES = 128  # of the indirection table: as many as every device has
HASHES = HashType.IPV4 | HashType.TCPV4 | HashType.UDPV4 | HashType.IPV6 | HashType.TCPV6 | HashType.UDPV6


class Steered:
    """A running device with two pairs, of which nothing was said yet."""

    def __init__(self, bench: Bench, extra: int = 0) -> None:
        if bench.pairs < 2:
            raise NotApplicable("the device has one queue pair: nothing is to be chosen")
        self.bench = bench
        self.control = self.start(int(Feature.NET_MQ) | extra)
        self.receiver = Receiver(bench, (FIRST, SECOND), count=BUFFERS)

    def start(self, features: int) -> Control:
        """Have the device run with all of its queues."""
        return Control.start(self.bench, features, QUEUES)

    def send(self, flow: Flow) -> bytes:
        """Put a frame of a flow on the wire; returns its mark."""
        mark = fresh_mark()
        self.bench.wire.send(flow_frame(flow, mark, to=own_mac(self.bench)))
        return mark

    def where(self, flow: Flow) -> int:
        """The queue that a frame of a flow goes to; raises ``Deviation`` when it goes nowhere."""
        return self.receiver.must_get(self.send(flow), "a frame to the device's own address").queue

    def lost(self, flow: Flow, other: Flow) -> Got | None:
        """Does a frame of a flow go nowhere? ``other``: a flow that still comes through."""
        mark, sure = fresh_mark(), fresh_mark()
        mac = own_mac(self.bench)
        return self.receiver.passes(flow_frame(flow, mark, to=mac), mark, guide=(flow_frame(other, sure, to=mac), sure))

    def teach(self, flows: Iterable[Flow], queue: int) -> None:
        """Let the device transmit in these flows, so that it knows where they belong."""
        for flow in flows:
            transmit(self.bench, reply(flow, fresh_mark()), queue=queue)

    def on_second(self) -> list[Flow]:
        """Flows that go to the second pair; raises ``NotApplicable`` when none does."""
        self.control.pairs(2)
        self.teach(FLOWS, tx_queue(1))
        found = [flow for flow in FLOWS if self.where(flow) == SECOND]
        if not found:
            raise NotApplicable("the device steers nothing to its second pair")
        return found

    def reset(self, queue: int) -> None:
        """Queue reset."""
        common = self.bench.device.common
        common.queue_select = queue
        common.queue_reset = 1
        if not self.bench.wait(lambda: not common.queue_reset, "queue reset"):
            raise Refused(f"queue {queue} cannot be reset")
        self.receiver.forget(queue)


@check("N-MQ-1")
def first_queue_only(bench: Bench) -> None:
    """After initialisation all flows go to receiveq1, until VQ_PAIRS_SET."""
    steered = Steered(bench)
    for flow in FLOWS:
        queue = steered.where(flow)
        bench.must(queue == FIRST, f"before VQ_PAIRS_SET a frame came on queue {queue}")


@check("N-MQ-2")
def none_above_the_pairs(bench: Bench) -> None:
    """Once VQ_PAIRS_SET 1 is used, nothing goes to the second receive queue."""
    steered = Steered(bench)
    steered.control.pairs(2)
    steered.teach(FLOWS, tx_queue(1))
    before = [steered.where(flow) for flow in FLOWS]
    bench.note(f"with two pairs {before.count(SECOND)} of {len(FLOWS)} flows went to the second")
    steered.control.pairs(1)
    for flow in FLOWS:
        queue = steered.where(flow)
        bench.must(queue == FIRST, f"VQ_PAIRS_SET 1 was used, then a frame came on queue {queue}")


@check("N-MQ-3")
def another_queue_instead(bench: Bench) -> None:
    """Frames for a queue that was reset go to another one."""
    steered = Steered(bench, int(Feature.RING_RESET))
    flows = steered.on_second()
    steered.reset(SECOND)
    for flow in flows:
        mark = steered.send(flow)
        bench.must(steered.receiver.wait(mark), "a frame for a queue that was reset came nowhere")


@check("N-MQ-4")
def no_queue_is_left(bench: Bench) -> None:
    """With all receive queues reset frames are dropped: no buffer changes, and none of them comes later."""
    steered = Steered(bench, int(Feature.RING_RESET))
    steered.control.pairs(2)
    steered.where(FLOWS[0])
    held = steered.receiver.buffers()
    for queue in (FIRST, SECOND):
        steered.reset(queue)
    before = [bench.memory.read(gpa, length) for gpa, length in held]
    marks = [steered.send(flow) for flow in FLOWS]
    bench.wait(lambda: False, "nothing to happen", bench.silence)
    changed = [gpa for (gpa, length), was in zip(held, before, strict=True) if bench.memory.read(gpa, length) != was]
    bench.must(not changed, f"all receive queues are reset, but {len(changed)} buffers changed")
    for queue in (FIRST, SECOND):
        bench.add_queue(queue)
        steered.receiver.fill(queue, BUFFERS)
    steered.where(FLOWS[0])
    late = sum(steered.receiver.find(mark) is not None for mark in marks)
    bench.must(not late, f"{late} frames of when all receive queues were reset came after they were enabled anew")


@check("X-9")
def a_flow_stays(bench: Bench) -> None:
    """After VQ_PAIRS_SET all frames of a flow go to one queue."""
    steered = Steered(bench)
    steered.control.pairs(2)
    for pair in (0, 1):
        steered.teach(FLOWS[pair::2], tx_queue(pair))
    for flow in FLOWS:
        found = {steered.where(flow) for _ in range(4)}
        bench.must(len(found) == 1, f"frames of one flow came on queues {sorted(found)}")


@check("X-10")
def a_flow_comes_back(bench: Bench) -> None:
    """What comes back in a flow goes to the pair that last transmitted in it."""
    steered = Steered(bench)
    steered.control.pairs(2)
    for pair in (1, 0):
        steered.teach(FLOWS, tx_queue(pair))
        for flow in FLOWS:
            queue = steered.where(flow)
            bench.must(queue == rx_queue(pair), f"queue {tx_queue(pair)} sent, on queue {queue} it came back")


# RSS


class Scaled(Steered):
    """A running device with two pairs and RSS."""

    def __init__(self, bench: Bench, extra: int = 0) -> None:
        super().__init__(bench, int(Feature.NET_RSS) | extra)
        self.supported = int(bench.device.net.supported_hash_types) & int(HASHES)
        self.table = [0] * ENTRIES
        self.types = 0
        self.unclassified = 0

    def configure(self, types: int, table: list[int], unclassified: int) -> None:
        """RSS_CONFIG; raises ``Refused``."""
        self.types, self.table, self.unclassified = types & self.supported, table, unclassified
        self.control.set(CtrlClass.MQ, MqCommand.RSS_CONFIG, rss_config(self.types, table, unclassified, 2, KEY))

    def expected(self, flow: Flow) -> int:
        """The queue that a flow has to go to."""
        value = flow_hash(flow, self.types)
        return rx_queue(self.unclassified if value is None else self.table[value % len(self.table)])


def _flows(count: int) -> list[Flow]:
    """Of all kinds that a hash tells apart."""
    return [
        Flow(1024 + 37 * at, 80 + at, at + 1, ipv6, protocol)
        for ipv6 in (False, True)
        for protocol in (TCP, UDP, OTHER)
        for at in range(count)
    ]


@check("N-RSS-1")
def hash_chooses_the_queue(bench: Bench) -> None:
    """With RSS the hash of a frame, or its absence, chooses the queue by the table."""
    scaled = Scaled(bench)
    shuffled = random.Random(5)
    tables = [[shuffled.randrange(2) for _ in range(ENTRIES)] for _ in range(2)]
    addresses = int(HashType.IPV4 | HashType.IPV6)
    ports = int(HashType.TCPV4 | HashType.UDPV6)
    for types, table, unclassified in ((int(HASHES), tables[0], 1), (addresses, tables[1], 0), (ports, tables[0], 1)):
        scaled.configure(types, table, unclassified)
        for flow in _flows(4):
            queue, right = scaled.where(flow), scaled.expected(flow)
            what = f"hash types {scaled.types:#x}, protocol {flow.protocol} over IPv{6 if flow.ipv6 else 4}"
            bench.must(queue == right, f"{what}: it came on queue {queue}, the table says {right}")
        mark = fresh_mark()
        bench.wire.send(plain(mark, to=own_mac(bench)))
        queue = scaled.receiver.must_get(mark, "a frame without IP").queue
        bench.must(queue == rx_queue(unclassified), f"a frame without a hash came on queue {queue}")


@check("N-RSS-2")
def queue_of_the_hash_is_gone(bench: Bench) -> None:
    """With RSS, frames for a queue that was reset are dropped."""
    scaled = Scaled(bench, int(Feature.RING_RESET))
    scaled.configure(int(HASHES), [at % 2 for at in range(ENTRIES)], 0)
    flows = _flows(8)
    there = [flow for flow in flows if scaled.expected(flow) == SECOND][:6]
    here = next(flow for flow in flows if scaled.expected(flow) == FIRST)
    if scaled.where(there[0]) != SECOND:
        raise Refused("RSS does not do what it was told")
    scaled.reset(SECOND)
    for flow in there:
        got = scaled.lost(flow, here)
        bench.must(got is None, f"a frame for queue {SECOND}, which was reset, came on queue {got and got.queue}")
