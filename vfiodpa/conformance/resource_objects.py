"""Resource objects (OBJ), on those of the flow filter. Ref: virtio 1.4, 2.12.1 (Device resource objects)"""

from __future__ import annotations

from ..spec.virtio_admin import AdminStatus
from ..spec.virtio_flow_filter import FfObject, Selector, pack_selectors
from ..validate.admin import must_answer
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.flow_filter import FlowFilter, group
from ..validate.verdict import NotApplicable

Obj, S = FfObject, AdminStatus
FEW = 6
NOBODY = 0xEE  # no selector, no action


def _few(flows: FlowFilter, most: int) -> int:
    """Enable so many objects of each type, as far as the device has them; returns how many."""
    device = flows.resources
    limits = (device.groups_limit, device.classifiers_limit, device.rules_limit, device.rules_per_group_limit)
    few = min(most, *limits)
    flows.enable(groups_limit=few, classifiers_limit=few, rules_limit=few, rules_per_group_limit=few)
    return few


@check("OBJ-1")
def an_id_that_is_taken(bench: Bench) -> None:
    """CREATE of an object that exists is refused with EEXIST."""
    flows = FlowFilter.start(bench)
    flows.three()
    for type, data in flows.samples(priority=2).items():
        must_answer(bench, f"a second {type.name} 0", flows.create(type, 0, data), S.EEXIST)


@check("OBJ-2")
def an_object_that_is_not_there(bench: Bench) -> None:
    """MODIFY, QUERY and DESTROY of an object that does not exist are refused with ENXIO."""
    flows = FlowFilter.start(bench)
    flows.three()
    for type, data in flows.samples(priority=2).items():
        must_answer(bench, f"MODIFY of {type.name} 1, which is not there,", flows.modify(type, 1, data), S.ENXIO)
        must_answer(bench, f"QUERY of {type.name} 1, which is not there,", flows.query(type, 1), S.ENXIO)
        must_answer(bench, f"DESTROY of {type.name} 1, which is not there,", flows.destroy(type, 1), S.ENXIO)


@check("OBJ-3")
def no_room_for_another(bench: Bench) -> None:
    """CREATE beyond the driver's limit is refused with ENOSPC."""
    flows = FlowFilter.start(bench)
    room = _few(flows, 2)
    for type in Obj:
        for id in range(room):
            flows.must_create(type, id, flows.samples(id + 1)[type])
    for type, data in flows.samples(room + 1).items():
        must_answer(bench, f"{type.name} {room} of {room}", flows.create(type, room, data), S.ENOSPC)


@check("OBJ-4")
def others_depend_on_it(bench: Bench) -> None:
    """MODIFY and DESTROY of an object on which others depend are refused with EBUSY."""
    flows = FlowFilter.start(bench)
    flows.three()
    samples = flows.samples(priority=2)
    for type in (Obj.GROUP, Obj.CLASSIFIER):
        must_answer(bench, f"MODIFY of a {type.name} with a rule", flows.modify(type, 0, samples[type]), S.EBUSY)
        must_answer(bench, f"DESTROY of a {type.name} with a rule", flows.destroy(type, 0), S.EBUSY)


@check("OBJ-5")
def created_again(bench: Bench) -> None:
    """What was destroyed can be created again, without a reset."""
    flows = FlowFilter.start(bench)
    flows.three()
    for attempt in range(2, 4):
        for type in reversed(Obj):
            reply = flows.destroy(type, 0)
            bench.must(reply.ok, f"DESTROY of {type.name} 0 was answered with {reply}")
        for type, data in flows.samples(attempt).items():
            reply = flows.create(type, 0, data)
            bench.must(reply.ok, f"{type.name} 0 was destroyed; to create it again was answered with {reply}")


@check("OBJ-6")
def any_id_that_is_free(bench: Bench) -> None:
    """CREATE takes any id that is free: the last, the first, one between them."""
    flows = FlowFilter.start(bench)
    flows.enable()
    limits = {Obj.GROUP: flows.resources.groups_limit, Obj.CLASSIFIER: flows.resources.classifiers_limit}
    for type, limit in limits.items():
        for priority, id in enumerate(dict.fromkeys((limit - 1, 0, limit // 2)), 1):
            reply = flows.create(type, id, flows.samples(priority)[type])
            bench.must(reply.ok, f"{type.name} {id} of {limit}, which is free, was answered with {reply}")


@check("OBJ-8")
def as_many_as_the_driver_said(bench: Bench) -> None:
    """As many objects can be created as the driver's capability says."""
    flows = FlowFilter.start(bench)
    room = _few(flows, FEW)
    for type in Obj:
        for id in range(room):
            reply = flows.create(type, id, flows.samples(id + 1)[type])
            bench.must(reply.ok, f"{type.name} {id} of {room} was answered with {reply}")


def _bad(flows: FlowFilter) -> list[tuple[FfObject, int, bytes]]:
    """Data that a device is likely to refuse: another group's priority, no such selector, no such action."""
    ethernet = flows.ethernet
    return [
        (Obj.GROUP, 1, group(1)),
        (Obj.CLASSIFIER, 1, pack_selectors([Selector(NOBODY, ethernet.mask)])),
        (Obj.CLASSIFIER, 1, pack_selectors([])),
        (Obj.RULE, 0, flows.rule(rule_priority=2, action=NOBODY)),
        (Obj.RULE, 0, flows.rule(rule_priority=2, key_length=len(ethernet.mask) - 1)),
        (Obj.RULE, 0, flows.rule(rule_priority=2, classifier_id=NOBODY)),
    ]


@check("OBJ-9")
def a_change_that_fails(bench: Bench) -> None:
    """A MODIFY that fails leaves the object as it was."""
    flows = FlowFilter.start(bench)
    flows.three()
    flows.must_create(Obj.GROUP, 1, group(2))
    flows.must_create(Obj.CLASSIFIER, 1, flows.classifier())
    failed = 0
    for type, id, data in _bad(flows):
        before = flows.query(type, id)
        reply = flows.modify(type, id, data)
        if not reply.ok:
            failed += 1
            after = flows.query(type, id)
            seen = f"{type.name} {id} is {after.result.hex()}, after a MODIFY that failed ({reply})"
            bench.must(after.result == before.result, f"{seen}; before it was {before.result.hex()}")
    if not failed:
        raise NotApplicable("every change that was tried is taken: none fails")


@check("OBJ-10")
def what_was_written_is_read(bench: Bench) -> None:
    """QUERY returns what CREATE or MODIFY wrote last."""
    flows = FlowFilter.start(bench)
    flows.enable()
    flows.must_create(Obj.GROUP, 1, group(9))
    flows.must_create(Obj.CLASSIFIER, 1, flows.classifier())
    masked = flows.classifier([Selector(flows.ethernet.type, bytes(12) + flows.ethernet.mask[12:])])
    rule = flows.rule(group_id=1, classifier_id=1, rule_priority=flows.rank(1))
    key = bytes([0xA5]) * len(flows.ethernet.mask)
    again = flows.rule([key], group_id=1, classifier_id=1, rule_priority=flows.rank(2))
    # Nothing depends on these two yet.
    for type, first, second in ((Obj.GROUP, group(9), group(7)), (Obj.CLASSIFIER, flows.classifier(), masked)):
        _reads(bench, flows, type, first)
        _changes(bench, flows, type, second)
    flows.must_create(Obj.RULE, 1, rule)
    _reads(bench, flows, Obj.RULE, rule)
    _changes(bench, flows, Obj.RULE, again)


def _changes(bench: Bench, flows: FlowFilter, type: FfObject, data: bytes) -> None:
    reply = flows.modify(type, 1, data)
    bench.must(reply.ok, f"MODIFY of {type.name} 1 with {data.hex()} was answered with {reply}")
    _reads(bench, flows, type, data)


def _reads(bench: Bench, flows: FlowFilter, type: FfObject, data: bytes) -> None:
    reply = flows.query(type, 1)
    seen = f"QUERY of {type.name} 1 was answered with {reply}, {reply.result.hex()}; what was written is {data.hex()}"
    bench.must(reply.ok and reply.result[: len(data)] == data, seen)


@check("OBJ-11")
def a_reset_destroys_objects(bench: Bench) -> None:
    """After a reset there are no objects, and their ids are free."""
    FlowFilter.start(bench).three()
    flows = FlowFilter.start(bench)
    flows.enable()
    for type in Obj:
        must_answer(bench, f"QUERY of {type.name} 0, which was there before a reset,", flows.query(type, 0), S.ENXIO)
    for type, data in flows.samples().items():
        reply = flows.create(type, 0, data)
        bench.must(reply.ok, f"{type.name} 0 was there before a reset; to create it anew was answered with {reply}")
