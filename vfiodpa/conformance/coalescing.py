"""Notification coalescing (N-COAL). Ref: virtio 1.3, 5.1.6.5.9.1"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_net import Ack, Coalescing, CoalescingCommand, CoalescingQueue, CtrlClass
from ..validate.bench import RX, TX, Bench
from ..validate.check import check
from ..validate.control import Answer, Control
from ..validate.verdict import Refused

COAL = Feature.NET_NOTF_COAL
EACH = Feature.NET_VQ_NOTF_COAL
BOTH = int(COAL | EACH)
C = CoalescingCommand
EXTREME = ((0xFFFF_FFFF, 0xFFFF_FFFF), (0, 0xFFFF_FFFF), (0xFFFF_FFFF, 0), (1, 1), (0, 0))
Values = tuple[int, int]  # packets, microseconds


def _values(values: Values) -> bytes:
    return Coalescing(max_packets=values[0], max_usecs=values[1]).pack()


def _set_all(control: Control, command: CoalescingCommand, values: Values) -> Answer:
    return control.ask(CtrlClass.NOTF_COAL, command, _values(values))


def _set_queue(control: Control, queue: int, values: Values, reserved: int = 0) -> Answer:
    head = CoalescingQueue(vq_index=queue, reserved=reserved).pack()
    return control.ask(CtrlClass.NOTF_COAL, C.VQ_SET, head + _values(values))


def _get(control: Control, queue: int, reserved: int = 0) -> tuple[Answer, Values]:
    head = CoalescingQueue(vq_index=queue, reserved=reserved).pack()
    answer = control.ask(CtrlClass.NOTF_COAL, C.VQ_GET, head, Coalescing.size)
    if not answer.ok or len(answer.result) < Coalescing.size:
        return answer, (-1, -1)
    found = Coalescing.unpack(answer.result)
    return answer, (int(found.max_packets), int(found.max_usecs))


def _now(bench: Bench, control: Control, queue: int) -> Values:
    """What VQ_GET says; raises ``Deviation`` when it says nothing."""
    answer, values = _get(control, queue)
    bench.must(answer.ok and values[0] >= 0, f"VQ_GET of queue {queue}: {answer}, {len(answer.result)} bytes behind it")
    return values


def _taken(control: Control, queue: int, values: Values = (16, 40)) -> Values:
    """Set values that any device should take; raises ``Refused``."""
    answer = _set_queue(control, queue, values)
    if not answer.ok:
        raise Refused(f"the device does not coalesce {values[0]} packets or {values[1]} us: {answer}")
    return values


@check("N-COAL-1", features=EACH)
def reserved_is_ignored(bench: Bench) -> None:
    """Whatever stands in ``reserved`` changes nothing for VQ_SET and VQ_GET."""
    control = Control.start(bench, BOTH)
    values = _taken(control, TX)
    for reserved in (1, 0x8000, 0xFFFF):
        answer = _set_queue(control, TX, values, reserved)
        bench.must(answer.ok, f"VQ_SET with reserved {reserved:#x}: {answer}")
        answer, found = _get(control, TX, reserved)
        bench.must(answer.ok and found == values, f"VQ_GET with reserved {reserved:#x}: {answer}, {found} for {values}")


@check("N-COAL-2")
def what_cannot_be_set_for_all_is_refused(bench: Bench) -> None:
    """TX_SET and RX_SET of any values are done, or refused with nothing changed."""
    control = Control.start(bench, BOTH)
    for command, queue in ((C.TX_SET, TX), (C.RX_SET, RX)):
        for values in EXTREME:
            before = _seen(bench, control, queue)
            answer = _set_all(control, command, values)
            bench.must(answer.ack in tuple(Ack), f"{command.name} {values}: {answer}")
            after = _seen(bench, control, queue)
            right = values if answer.ok else before
            bench.must(after in (None, right), f"{command.name} {values}: {answer}, then VQ_GET says {after}")


def _seen(bench: Bench, control: Control, queue: int) -> Values | None:
    """What VQ_GET says, where the device has it."""
    return _now(bench, control, queue) if bench.device.features & EACH else None


@check("N-COAL-3")
def what_cannot_be_set_for_one_is_refused(bench: Bench) -> None:
    """VQ_SET of any values is done, or refused with nothing changed."""
    control = Control.start(bench, BOTH)
    for queue in (TX, RX):
        for values in EXTREME:
            before = _now(bench, control, queue)
            answer = _set_queue(control, queue, values)
            bench.must(answer.ack in tuple(Ack), f"VQ_SET {values}: {answer}")
            after, right = _now(bench, control, queue), values if answer.ok else before
            bench.must(after == right, f"VQ_SET {values} of queue {queue}: {answer}, then VQ_GET says {after}")


@check("N-COAL-4")
def only_queues_that_are_enabled(bench: Bench) -> None:
    """VQ_SET and VQ_GET are refused for all but receive and transmit queues that are enabled."""
    control = Control.start(bench, BOTH | int(Feature.NET_MQ))
    queues = int(bench.device.common.num_queues)
    wrong = {control.index: "the control queue", queues: "behind the last queue", 0xFFFF: "not there"}
    if control.index > TX + 1:
        wrong[TX + 1] = "not enabled"
    for queue, what in wrong.items():
        answer = _set_queue(control, queue, (1, 1))
        bench.must(answer.ack == Ack.ERR, f"VQ_SET of queue {queue}, {what}: {answer}")
        answer, _ = _get(control, queue)
        bench.must(answer.ack == Ack.ERR, f"VQ_GET of queue {queue}, {what}: {answer}")


def _restarted(bench: Bench, queue: int, command: CoalescingCommand) -> None:
    """A queue that is reset and enabled anew has what was last set for all of its kind, or nothing."""
    control = Control.start(bench, BOTH | int(Feature.RING_RESET))
    all_set = (8, 20)
    for known in (False, True):
        if known and not bench.device.features & COAL:
            bench.note("without NOTF_COAL nothing can be set for all queues")
            return
        if known and not _set_all(control, command, all_set).ok:
            raise Refused(f"{command.name} {all_set} was refused")
        _taken(control, queue, (32, 64))
        _reset_queue(bench, queue)
        bench.add_queue(queue)
        found, right = _now(bench, control, queue), all_set if known else (0, 0)
        what = f"{command.name} {all_set}" if known else f"no {command.name}"
        bench.must(found == right, f"after {what} and a reset of queue {queue} VQ_GET says {found}, not {right}")


def _reset_queue(bench: Bench, queue: int) -> None:
    common = bench.device.common
    common.queue_select = queue
    common.queue_reset = 1
    done = bench.wait(lambda: not common.queue_reset, "queue reset")
    bench.must(done, f"queue_reset of queue {queue} stays 1")


@check("N-COAL-5")
def restarted_transmit_queue(bench: Bench) -> None:
    """A transmit queue that is enabled anew has the parameters of the last TX_SET, or 0."""
    _restarted(bench, TX, C.TX_SET)


@check("N-COAL-6")
def restarted_receive_queue(bench: Bench) -> None:
    """A receive queue that is enabled anew has the parameters of the last RX_SET, or 0."""
    _restarted(bench, RX, C.RX_SET)


@check("N-COAL-8")
def suppressed_stays_suppressed(bench: Bench) -> None:
    """A driver that asked for no notifications gets none, though coalescing would be due."""
    control = Control.start(bench, BOTH)
    values = (2, 50)
    if not _set_all(control, C.TX_SET, values).ok:
        raise Refused(f"TX_SET {values} was refused")
    ring, irq = bench.ring(TX), bench.irq_of(TX)
    ring.interrupts(False)
    bench.send(ring)
    bench.wait_used(ring)
    bench.wait(lambda: False, "what was on its way", bench.silence)
    irq.fired(0)  # one that was under way
    for _ in range(2 * values[0]):
        bench.send(ring)
    bench.wait_used(ring, 2 * values[0])
    times = irq.fired(max(bench.silence, 10 * values[1] / 1e6))
    bench.must(not times, f"{times} interrupts for a queue whose driver wants none, with coalescing {values}")


@check("N-COAL-9")
def reset_zeroes(bench: Bench) -> None:
    """After a device reset all parameters are 0."""
    control = Control.start(bench, BOTH)
    for queue in (RX, TX):
        _taken(control, queue)
    if bench.device.features & COAL:
        _set_all(control, C.TX_SET, (5, 6))
        _set_all(control, C.RX_SET, (7, 8))
        _taken(control, RX)
    control = Control.start(bench, BOTH)
    for queue in (RX, TX):
        found = _now(bench, control, queue)
        bench.must(found == (0, 0), f"after a reset VQ_GET of queue {queue} says {found}")
