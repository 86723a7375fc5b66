"""What the flow filter does with frames (N-FF). Ref: virtio 1.4, 5.1.9.6

Where a frame must go to one queue, another one must go to the other: chance is not enough.
"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_flow_filter import FfAction, FfHeader, FfObject, Selector
from ..spec.virtio_net import CtrlClass, MqCommand, rx_queue, tx_queue
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.control import Control
from ..validate.flow_filter import NO_QUEUE, FlowFilter, group
from ..validate.frames import IPV4, TCP, Flow, flow_frame, fresh_mark, plain
from ..validate.toeplitz import KEY
from ..validate.traffic import BEHIND_S, own_mac
from ..validate.verdict import NotApplicable
from .control_queue import rss_config
from .steering import ENTRIES, FIRST, FLOWS, HASHES, QUEUES, SECOND, Steered

F, H, Obj = Feature, FfHeader, FfObject
STRANGER = b"\x02\x00\x00\x00\x99\x01"  # an address that is not the device's
GROUP = b"\x01\x00\x5e\x00\x00\x77"  # that nobody joined
SENDER = b"\x02\x00\x00\x00\x77\x01"  # whose frames a rule is for
VLAN = 77
BOTH = (FIRST, SECOND)
A, B, C, D = FLOWS[:4]
# The port that a flow comes from: by whole fields, which needs no partial masks.
BY_PORT = (
    Selector(H.ETH, bytes(12) + b"\xff\xff"),
    Selector(H.IPV4, bytes(9) + b"\xff" + bytes(10)),
    Selector(H.TCP, b"\xff\xff" + bytes(18)),
)
BY_SENDER = (Selector(H.ETH, bytes(6) + b"\xff" * 6 + bytes(2)),)


class Directed(Steered):
    """A running device with two pairs, a flow filter, and a group 0 of priority 1."""

    filter: FlowFilter

    def __init__(self, bench: Bench, extra: int = 0) -> None:
        bench.needs(F.NET_CTRL_VQ)
        super().__init__(bench, int(F.NET_CTRL_VQ) | extra)
        self.control.pairs(2)
        missing = [one.name for one in (FfAction.DROP, FfAction.DIRECT_RX_VQ) if one not in self.filter.actions]
        if missing:
            raise NotApplicable(f"the device has no action {' and '.join(missing)}")
        self.filter.enable()
        self.rules = 0
        self.classifiers: dict[tuple[Selector, ...], int] = {}
        self.group(0, 1)

    def start(self, features: int) -> Control:
        self.filter = FlowFilter.start(self.bench, features, QUEUES)
        return Control(self.bench)

    def group(self, id: int, priority: int) -> None:
        """Create a group; raises ``Refused``."""
        self.filter.must_create(Obj.GROUP, id, group(priority))

    def classifier(self, selectors: tuple[Selector, ...]) -> int:
        """The id of a classifier of these selectors; raises ``NotApplicable``, ``Refused``."""
        if selectors not in self.classifiers:
            for one in selectors:
                able = self.filter.selectors.get(one.type)
                if able is None or any(bits & ~most for bits, most in zip(one.mask, able.mask, strict=False)):
                    raise NotApplicable(f"the device cannot match what is wanted of {H(one.type).name} headers")
            id = self.classifiers[selectors] = len(self.classifiers)
            self.filter.must_create(Obj.CLASSIFIER, id, self.filter.classifier(selectors))
        return self.classifiers[selectors]

    def rule(self, flow: Flow, queue: int | None, *, of: int = 0, priority: int = 1) -> None:
        """Direct a flow to a queue, or drop it (None), by the port that it comes from; raises ``Refused``."""
        keys = (
            bytes(12) + IPV4,
            bytes(9) + bytes([TCP]) + bytes(10),
            flow.source_port.to_bytes(2, "big") + bytes(18),
        )
        self.put(BY_PORT, keys, queue, of, priority)

    def put(
        self,
        selectors: tuple[Selector, ...],
        keys: tuple[bytes, ...],
        queue: int | None,
        of: int = 0,
        priority: int = 1,
    ) -> None:
        """Create the next rule, of a group; raises ``Refused``."""
        data = self.filter.rule(
            keys,
            group_id=of,
            classifier_id=self.classifier(selectors),
            rule_priority=priority,
            action=FfAction.DROP if queue is None else FfAction.DIRECT_RX_VQ,
            vq_index=NO_QUEUE if queue is None else queue,
        )
        self.filter.must_create(Obj.RULE, self.rules, data)
        self.rules += 1

    def can_steer(self) -> None:
        """Raises ``NotApplicable`` when steering, without any rule yet, does not do what it is told."""
        for queue in BOTH:
            self.steer_all(queue)
            if self.where(A) != queue:
                raise NotApplicable("steering does not do what it was told: that is for other clauses")

    def steer_all(self, queue: int) -> None:
        """Let steering choose one queue for all flows: by RSS, or by what the device transmits."""
        pair = BOTH.index(queue)
        if self.bench.device.features & F.NET_RSS:
            types = int(self.bench.device.net.supported_hash_types) & int(HASHES)
            config = rss_config(types, [pair] * ENTRIES, pair, 2, KEY)
            self.control.set(CtrlClass.MQ, MqCommand.RSS_CONFIG, config)
        else:
            self.teach(FLOWS, tx_queue(pair))

    def must_go(self, flow: Flow, queue: int, what: str) -> None:
        """Raise ``Deviation`` when a frame of a flow goes elsewhere, or nowhere."""
        got = self.where(flow)
        self.bench.must(got == queue, f"{what}: the frame came on queue {got}, not on {queue}")

    def must_be_lost(self, flow: Flow, other: Flow, what: str) -> None:
        """Raise ``Deviation`` when a frame of a flow comes, before or soon after one of the other flow."""
        got = self.lost(flow, other)
        self.bench.must(got is None, f"{what}: the frame came on queue {got and got.queue}, and should be dropped")


@check("N-FF-10", features=F.RING_RESET)
def directed_to_a_queue_that_is_reset(bench: Bench) -> None:
    """What a rule directs to a queue that was reset is dropped."""
    flows = Directed(bench, int(F.RING_RESET))
    flows.rule(A, SECOND)
    flows.rule(B, FIRST)
    flows.must_go(A, SECOND, "a rule directs there")
    flows.reset(SECOND)
    for _ in range(3):
        flows.must_be_lost(A, B, f"a rule directs to queue {SECOND}, which was reset")


@check("N-FF-11")
def a_rule_ends_steering(bench: Bench) -> None:
    """What a rule directs goes there, whatever lower rules and steering say."""
    flows = Directed(bench, int(F.NET_RSS))
    flows.can_steer()
    for flow, queue, other in ((C, FIRST, SECOND), (D, SECOND, FIRST)):
        flows.rule(flow, queue, priority=2)
        flows.rule(flow, other, priority=1)
        flows.steer_all(other)
        flows.must_go(flow, queue, "a rule and steering choose different queues")


def _two_groups(bench: Bench) -> Directed:
    flows = Directed(bench)
    flows.group(1, 7)
    return flows


@check("N-FF-12")
def the_group_of_the_highest_priority(bench: Bench) -> None:
    """The rule of the group with the highest priority is applied, whichever was created first."""
    flows = _two_groups(bench)
    for flow, high, low in ((A, FIRST, SECOND), (B, SECOND, FIRST)):
        flows.rule(flow, high, of=1)
        flows.rule(flow, low, of=0)
    for flow, low, high in ((C, FIRST, SECOND), (D, SECOND, FIRST)):
        flows.rule(flow, low, of=0)
        flows.rule(flow, high, of=1)
    for flow, queue in ((A, FIRST), (B, SECOND), (C, SECOND), (D, FIRST)):
        flows.must_go(flow, queue, "rules of groups of priority 7 and 1 match")


@check("N-FF-13")
def other_groups_are_ignored(bench: Bench) -> None:
    """Once a rule was applied, those of other groups are not: what they would drop comes through."""
    flows = _two_groups(bench)
    for flow, queue in ((A, FIRST), (B, SECOND)):
        flows.rule(flow, None, of=0)
        flows.rule(flow, queue, of=1)
        flows.must_go(flow, queue, "a group directs it, one of lower priority would drop it")


@check("N-FF-14")
def the_next_group_where_none_matches(bench: Bench) -> None:
    """Where no rule of a group matches, the next group is tried; where none does, the frame is received."""
    flows = _two_groups(bench)
    flows.group(2, 9)
    for of, here, there in ((2, 0, 1), (1, 2, 3), (0, 4, 5)):
        flows.rule(FLOWS[here], FIRST, of=of)
        flows.rule(FLOWS[there], SECOND, of=of)
    for at in range(6):
        what = f"a rule in the {('first', 'second', 'third')[at // 2]} of three groups matches"
        flows.must_go(FLOWS[at], BOTH[at % 2], what)
    flows.where(FLOWS[6])


@check("N-FF-15")
def rules_from_the_highest_priority(bench: Bench) -> None:
    """In a group the rule of the highest priority that matches is applied, and its action taken."""
    flows = Directed(bench)
    for flow, high, low in ((A, FIRST, SECOND), (B, SECOND, FIRST), (C, None, FIRST)):
        flows.rule(flow, low, priority=2)
        flows.rule(flow, high, priority=5)
    for flow, queue in ((A, FIRST), (B, SECOND)):
        flows.must_go(flow, queue, "rules of priority 5 and 2 match")
    flows.must_be_lost(C, A, "a rule of priority 5 drops it, one of priority 2 directs it")


@check("N-FF-16")
def one_action_for_a_frame(bench: Bench) -> None:
    """A frame that several rules match is received once."""
    flows = _two_groups(bench)
    for of, priority, queue in ((1, 5, SECOND), (1, 2, FIRST), (0, 5, FIRST)):
        flows.rule(A, queue, of=of, priority=priority)
    flows.rule(B, FIRST)
    for flow in (A, B):
        mark = flows.send(flow)
        flows.receiver.must_get(mark, "a frame that a rule directs")
        bench.wait(lambda: False, "a frame to come once more", max(bench.silence, BEHIND_S))
        queues = [got.queue for got in flows.receiver.all(mark)]
        bench.must(len(queues) == 1, f"a frame that rules match came {len(queues)} times, on queues {queues}")


@check("N-FF-18", features=F.NET_CTRL_RX)
def filters_then_rules_then_steering(bench: Bench) -> None:
    """Receive filters come first, then rules, then steering for what no rule was for."""
    flows = Directed(bench, int(F.NET_RSS | F.NET_CTRL_RX))
    flows.control.mac_table()
    flows.can_steer()
    flows.rule(C, FIRST)
    flows.rule(D, SECOND)
    for at, queue in enumerate(BOTH):
        flows.steer_all(queue)
        flows.must_go(A, queue, "no rule matches, steering chooses")
        flows.must_go((D, C)[at], BOTH[1 - at], "a rule matches, steering chooses another queue")
    mark = fresh_mark()
    got = flows.receiver.passes(flow_frame(D, mark, to=STRANGER), mark)
    bench.must(got is None, "a rule directs it, but it is addressed to another: the frame came, filters are first")


@check("N-FF-19")
def dropped_is_dropped(bench: Bench) -> None:
    """What a rule drops is not steered."""
    flows = Directed(bench, int(F.NET_RSS))
    flows.can_steer()
    flows.rule(C, None)
    for queue in BOTH:
        flows.steer_all(queue)
        flows.must_be_lost(C, A, f"a rule drops it, steering gives all to queue {queue}")


@check("N-FF-20", features=F.NET_CTRL_RX)
def no_rule_for_what_filters_drop(bench: Bench) -> None:
    """What modes, the MAC table or VLANs drop does not come, though a rule directs it."""
    flows = Directed(bench, int(F.NET_CTRL_RX | F.NET_CTRL_VLAN))
    flows.control.mac_table()
    mac = own_mac(bench)
    flows.put(BY_SENDER, (bytes(6) + SENDER + bytes(2),), rx_queue(1))
    mark = fresh_mark()
    bench.wire.send(plain(mark, to=mac, source=SENDER))
    queue = flows.receiver.must_get(mark, "a frame to its own address, which a rule directs,").queue
    bench.must(queue == SECOND, f"a rule directs to queue {SECOND}, the frame came on {queue}")
    dropped: list[tuple[str, bytes, int | None]] = [("another address", STRANGER, None), ("a group", GROUP, None)]
    if bench.device.features & F.NET_CTRL_VLAN:
        dropped.append((f"VLAN {VLAN}, which was not added,", mac, VLAN))
    for what, to, vlan in dropped:
        mark = fresh_mark()
        got = flows.receiver.passes(plain(mark, to=to, source=SENDER, vlan=vlan), mark)
        bench.must(got is None, f"a frame to {what} came: filters drop it, but a rule directs it")
