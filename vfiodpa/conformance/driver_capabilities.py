"""What the driver says it is going to use (CAP). Ref: virtio 1.4, 2.12.1 (Device and driver capabilities)

Of the capabilities that there are, those of the network device's flow filter are tried.
"""

from __future__ import annotations

from ..spec.virtio_admin import AdminStatus
from ..spec.virtio_flow_filter import (
    FfCapability,
    FfMaskFlag,
    FfObject,
    FfResources,
    Selector,
    pack_actions,
    pack_selectors,
)
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.flow_filter import FlowFilter, group
from ..validate.verdict import NotApplicable

C, S = FfCapability, AdminStatus
NOTHING = {C.RESOURCE: bytes(FfResources.size), C.SELECTOR: pack_selectors([]), C.ACTION: pack_actions([])}


@check("CAP-2")
def limits_up_to_those_of_the_device(bench: Bench) -> None:
    """DRIVER_CAP_SET takes any limit up to the device's."""
    flows = FlowFilter.start(bench)
    for field in FfResources.fields:
        most = flows.resources.values[field.name]
        for limit in () if field.count else sorted({most, max(most - 1, 0), 0}, reverse=True):
            reply = flows.set(C.RESOURCE, flows.limits(**{field.name: limit}))
            bench.must(reply.ok, f"{field.name} {limit}, where the device has {most}, was answered with {reply}")


@check("CAP-3")
def fewer_flags_than_those_of_the_device(bench: Bench) -> None:
    """DRIVER_CAP_SET takes all flags of the device, or fewer."""
    flows = FlowFilter.start(bench)
    selectors = list(flows.selectors.values())
    if not any(one.flags & FfMaskFlag.PARTIAL_MASK for one in selectors):
        raise NotApplicable("none of the device's selectors has a flag")
    plain = [Selector(one.type, one.mask) for one in selectors]
    some = [[*plain[:at], selectors[at], *plain[at + 1 :]] for at in range(len(plain))]
    for chosen in (selectors, *some, plain):
        reply = flows.set(C.SELECTOR, pack_selectors(chosen))
        flags = [one.flags for one in chosen]
        bench.must(reply.ok, f"flags {flags}, of {[one.flags for one in selectors]}, were answered with {reply}")


@check("CAP-7")
def what_is_in_use_is_not_disabled(bench: Bench) -> None:
    """A capability that still has objects is not disabled, but EBUSY."""
    flows = FlowFilter.start(bench)
    flows.three()
    for id, nothing in NOTHING.items():
        reply = flows.set(id, nothing)
        bench.must(reply.status == S.EBUSY, f"{id.name} was disabled while it has objects: {reply}, not EBUSY")


@check("CAP-9")
def a_reset_forgets_what_the_driver_set(bench: Bench) -> None:
    """What the driver set before a reset makes no difference after it."""
    found = []
    for limit in (2, 1):
        flows = FlowFilter.start(bench)
        if flows.resources.groups_limit < limit:
            raise NotApplicable("the device has one group: there is no lower limit to remember")
        flows.enable(groups_limit=limit)
        flows = FlowFilter.start(bench)
        found.append([flows.create(FfObject.GROUP, id, group(id + 1)).ok for id in (0, 1)])
    seen = f"after a reset {sum(found[0])} groups can be made where the limit was 2, {sum(found[1])} where it was 1"
    bench.must(found[0] == found[1], f"{seen}: the reset did not forget it")


@check("CAP-10")
def what_was_not_set_is_zero(bench: Bench) -> None:
    """A limit that the driver did not set counts as zero: nothing can be created."""
    flows = FlowFilter.start(bench)
    every = flows.everything()
    for missing in (tuple(C), (C.RESOURCE,)):
        for id in C:
            if id not in missing:
                flows.set(id, every[id])
        reply = flows.create(FfObject.GROUP, 0, group(1))
        bench.must(not reply.ok, f"a group was created, without {', '.join(id.name for id in missing)} being set")
