"""The flow filter's objects (N-FF). Ref: virtio 1.4, 5.1.9.6"""

from __future__ import annotations

from ..spec.virtio_admin import AdminOpcode, AdminQualifier, AdminStatus
from ..spec.virtio_flow_filter import (
    FfAction,
    FfCapability,
    FfHeader,
    FfMaskFlag,
    FfObject,
    Selector,
)
from ..validate.admin import Admin, must_answer
from ..validate.bench import TX, Bench
from ..validate.check import check
from ..validate.flow_filter import NO_QUEUE, FlowFilter, group
from ..validate.verdict import NotApplicable, Refused

C, H, Obj, Op, S = FfCapability, FfHeader, FfObject, AdminOpcode, AdminStatus
COMMANDS = (Op.OBJECT_CREATE, Op.OBJECT_MODIFY, Op.OBJECT_QUERY, Op.OBJECT_DESTROY)
PARTIAL = int(FfMaskFlag.PARTIAL_MASK)
NOBODY = 0xEE  # no action
# The selectors of a classifier, as far as each header.
CHAINS = ((H.ETH,), (H.ETH, H.IPV4), (H.ETH, H.IPV6), (H.ETH, H.IPV4, H.TCP), (H.ETH, H.IPV4, H.UDP))


@check("N-FF-1")
def all_three_capabilities(bench: Bench) -> None:
    """A flow filter has all of its three capabilities."""
    admin = Admin.start(bench)
    admin.use_all()
    listed = admin.capabilities()
    missing = [one.name for one in C if not listed >> one & 1]
    if len(missing) == len(C):
        raise NotApplicable("the device has no flow filter")
    bench.must(not missing, f"the device has a flow filter, but does not list {', '.join(missing)}")


@check("N-FF-2")
def all_commands_for_all_objects(bench: Bench) -> None:
    """Groups, classifiers and rules can be created, modified, queried and destroyed."""
    flows = FlowFilter.start(bench)
    missing = [one.name for one in COMMANDS if not flows.opcodes >> one & 1]
    bench.must(not missing, f"the device has a flow filter, but not {', '.join(missing)}")
    flows.enable()
    for type, data in flows.samples().items():
        reply = flows.create(type, 0, data)
        bench.must(reply.ok, f"CREATE of {type.name} was answered with {reply}")
    samples = flows.samples(priority=2)
    for type in reversed(Obj):  # so that nothing depends on what is modified
        for what, reply in (
            ("QUERY", flows.query(type, 0)),
            ("MODIFY", flows.modify(type, 0, samples[type])),
            ("DESTROY", flows.destroy(type, 0)),
        ):
            bench.must(reply.ok, f"{what} of {type.name} was answered with {reply}")


@check("N-FF-3")
def no_commands_without_capabilities(bench: Bench) -> None:
    """With a capability disabled, its objects' commands are refused with Q_INVALID_OPCODE."""
    for missing in C:
        flows = FlowFilter.start(bench)
        every = flows.everything()
        for id in C:
            if id is not missing and not flows.set(id, every[id]).ok:
                raise Refused(f"{id.name} cannot be set as the device has it")
        for type, data in flows.samples().items():
            for what, reply in (
                ("CREATE", flows.create(type, 0, data)),
                ("MODIFY", flows.modify(type, 0, data)),
                ("QUERY", flows.query(type, 0)),
                ("DESTROY", flows.destroy(type, 0)),
            ):
                seen = f"{what} of {type.name}, with {missing.name} disabled, was answered with {reply}"
                bench.must(reply.is_error(S.EINVAL, AdminQualifier.INVALID_OPCODE), seen)


@check("N-FF-4")
def priorities_of_groups_differ(bench: Bench) -> None:
    """A group with the priority of another one is refused with EINVAL."""
    flows = FlowFilter.start(bench)
    if min(flows.resources.groups_limit, flows.resources.rules_per_group_limit) < 2:
        raise NotApplicable("the device has room for one group")
    flows.enable()
    flows.must_create(Obj.GROUP, 0, group(5))
    must_answer(bench, "a second group of priority 5", flows.create(Obj.GROUP, 1, group(5)), S.EINVAL)


@check("N-FF-5")
def as_many_groups_as_both_limits_allow(bench: Bench) -> None:
    """Groups beyond the lower of groups_limit and rules_per_group_limit are refused with ENOSPC."""
    for groups, rules in ((2, 4), (4, 2)):
        flows = FlowFilter.start(bench)
        if min(flows.resources.groups_limit, flows.resources.rules_per_group_limit) < max(groups, rules):
            raise NotApplicable("the device has too few groups, or rules in a group, to tell the limits apart")
        flows.enable(groups_limit=groups, rules_per_group_limit=rules)
        for id in range(2):
            flows.must_create(Obj.GROUP, id, group(id + 1))
        what = f"a third group, with groups_limit {groups} and rules_per_group_limit {rules},"
        must_answer(bench, what, flows.create(Obj.GROUP, 2, group(3)), S.ENOSPC)


@check("N-FF-6")
def as_many_classifiers_as_the_limit(bench: Bench) -> None:
    """Classifiers beyond classifiers_limit are refused with ENOSPC."""
    flows = FlowFilter.start(bench)
    limit = min(2, flows.resources.classifiers_limit)
    flows.enable(classifiers_limit=limit)
    for id in range(limit):
        flows.must_create(Obj.CLASSIFIER, id, flows.classifier())
    what = f"a classifier more than classifiers_limit {limit}"
    must_answer(bench, what, flows.create(Obj.CLASSIFIER, limit, flows.classifier()), S.ENOSPC)


@check("N-FF-7")
def a_group_with_rules_stays(bench: Bench) -> None:
    """DESTROY of a group that has rules is refused with EBUSY."""
    flows = FlowFilter.start(bench)
    flows.three()
    must_answer(bench, "DESTROY of a group that has a rule", flows.destroy(Obj.GROUP, 0), S.EBUSY)


@check("N-FF-8")
def a_classifier_with_rules_stays(bench: Bench) -> None:
    """DESTROY of a classifier that has rules is refused with EBUSY."""
    flows = FlowFilter.start(bench)
    flows.three()
    must_answer(bench, "DESTROY of a classifier that has a rule", flows.destroy(Obj.CLASSIFIER, 0), S.EBUSY)


@check("N-FF-9")
def rules_that_make_no_sense(bench: Bench) -> None:
    """A rule with a bad queue, priority, id, key length or action is not created."""
    flows = FlowFilter.start(bench)
    device = flows.resources
    last, most = min(device.last_rule_priority, 5), min(device.rules_limit, device.rules_per_group_limit, 4)
    flows.enable(last_rule_priority=last, rules_limit=most)
    flows.must_create(Obj.GROUP, 0, group(1))
    flows.must_create(Obj.CLASSIFIER, 0, flows.classifier())
    flows.must_create(Obj.RULE, 0, flows.rule())
    length = len(flows.ethernet.mask)
    bad: list[tuple[str, int, bytes]] = [
        (f"priority {last + 1}, the last is {last}", 1, flows.rule(rule_priority=last + 1)),
        (f"id {most}, the limit is {most}", most, flows.rule()),
        (f"{length - 1} bytes of keys for {length} of masks", 1, flows.rule([bytes(length - 1)])),
        (f"{length + 1} bytes of keys for {length} of masks", 1, flows.rule([bytes(length + 1)])),
        (f"action {NOBODY:#x}", 1, flows.rule(action=NOBODY)),
    ]
    if FfAction.DIRECT_RX_VQ in flows.actions:
        for queue in (TX, NO_QUEUE):
            rule = flows.rule(action=FfAction.DIRECT_RX_VQ, vq_index=queue)
            bad.append((f"queue {queue} to direct to, which receives nothing", 1, rule))
    for what, id, data in bad:
        bench.must(not flows.create(Obj.RULE, id, data).ok, f"a rule with {what} was created")


@check("N-FF-21")
def partial_masks_of_all_ones(bench: Bench) -> None:
    """A classifier may be marked as partial though its masks are whole."""
    flows = FlowFilter.start(bench)
    flows.enable()
    partial = {type for type, one in flows.selectors.items() if one.flags & PARTIAL}
    chains = [chain for chain in CHAINS if partial.issuperset(chain)]
    if not chains:
        raise NotApplicable("none of the device's selectors can be masked in part")
    for chain in chains:
        marked = [Selector(type, flows.selectors[type].mask, PARTIAL) for type in chain]
        plain = [Selector(type, flows.selectors[type].mask) for type in chain]
        reply = flows.create(Obj.CLASSIFIER, 0, flows.classifier(marked))
        if not reply.ok:  # whose flags they are, the selector's or the command's, the text leaves open (errata.py)
            reply = flows.create(Obj.CLASSIFIER, 0, flows.classifier(plain), flags=PARTIAL)
            bench.note(f"PARTIAL_MASK as a flag of the command instead of the selector: {reply}")
        names = ", ".join(type.name for type in chain)
        bench.must(reply.ok, f"a classifier of {names} with whole masks and PARTIAL_MASK was answered with {reply}")
        flows.destroy(Obj.CLASSIFIER, 0)
