"""The flow filter over the administration queue: capabilities, resource objects, rules.

    flows = FlowFilter.start(bench)
    flows.enable()                                   # all that the device has; or REJECT
    flows.create(FfObject.GROUP, 0, group(7)).ok

Ref: virtio 1.4, 2.12.1 and 5.1.9.6
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..spec.virtio_admin import AdminOpcode, CapabilityId, ObjectCommand, ObjectHeader
from ..spec.virtio_flow_filter import (
    FfAction,
    FfCapability,
    FfGroup,
    FfHeader,
    FfObject,
    FfResources,
    FfRule,
    Selector,
    pack_actions,
    pack_selectors,
    unpack_actions,
    unpack_selectors,
)
from .admin import ROOM_FOR_ALL, Admin, Reply
from .bench import RX, TX, Bench
from .verdict import NotApplicable, Refused

NO_QUEUE = 0xFFFF
_PROBE = 0xFFFE  # a priority that no check uses


class FlowFilter:
    """Of a running device that has one; nothing is enabled yet."""

    def __init__(self, admin: Admin) -> None:
        self.admin = admin
        self.bench = admin.bench
        self.opcodes = admin.use_all()
        if not any(admin.capabilities() >> one & 1 for one in FfCapability):
            raise NotApplicable("the device has no flow filter")
        self.resources = FfResources.unpack(self._get(FfCapability.RESOURCE, FfResources.size))
        self.selectors = {one.type: one for one in unpack_selectors(self._get(FfCapability.SELECTOR))}
        self.actions = unpack_actions(self._get(FfCapability.ACTION))
        self._query: int | None = None  # opcode, once it is known

    @classmethod
    def start(cls, bench: Bench, extra: int = 0, queues: tuple[int, ...] = (RX, TX)) -> FlowFilter:
        """``Admin.start``; raises ``NotApplicable`` when there is no flow filter."""
        return cls(Admin.start(bench, extra, queues))

    # Capabilities

    def _get(self, id: int, least: int = 8) -> bytes:
        reply = self.admin.ask(AdminOpcode.DEVICE_CAP_GET, CapabilityId(id=id).pack(), room=ROOM_FOR_ALL)
        if not reply.ok or len(reply.result) < least:
            raise Refused(f"DEVICE_CAP_GET of {id:#x} was answered with {reply} and {len(reply.result)} bytes")
        return reply.result

    def set(self, id: int, data: bytes) -> Reply:
        """DRIVER_CAP_SET."""
        return self.admin.ask(AdminOpcode.DRIVER_CAP_SET, CapabilityId(id=id).pack() + data)

    def limits(self, **limits: int) -> bytes:
        """The device's limits, but for these."""
        return FfResources(**{**self.resources.values, "reserved": (0, 0), **limits}).pack()

    def everything(self, **limits: int) -> dict[FfCapability, bytes]:
        """All three capabilities as the device has them; with lower ``limits`` where that is said."""
        return {
            FfCapability.RESOURCE: self.limits(**limits),
            FfCapability.SELECTOR: pack_selectors(list(self.selectors.values())),
            FfCapability.ACTION: pack_actions(self.actions),
        }

    def enable(self, **limits: int) -> None:
        """Set all capabilities; raises ``Refused``."""
        for id, data in self.everything(**limits).items():
            reply = self.set(id, data)
            if not reply.ok:
                raise Refused(f"DRIVER_CAP_SET of {id.name}, as the device has it, was answered with {reply}")

    # Objects

    def create(self, type: int, id: int, data: bytes, *, flags: int = 0) -> Reply:
        """Create an object."""
        return self._do(AdminOpcode.OBJECT_CREATE, type, id, data, flags)

    def modify(self, type: int, id: int, data: bytes) -> Reply:
        """Give it other data."""
        return self._do(self._opcodes()[1], type, id, data)

    def query(self, type: int, id: int) -> Reply:
        """Ask for its data."""
        return self._do(self._opcodes()[0], type, id)

    def destroy(self, type: int, id: int) -> Reply:
        """Destroy it."""
        return self.admin.ask(AdminOpcode.OBJECT_DESTROY, ObjectHeader(type=type, id=id).pack())

    def must_create(self, type: FfObject, id: int, data: bytes) -> None:
        """Create what the check goes on with; raises ``Refused``."""
        reply = self.create(type, id, data)
        if not reply.ok:
            raise Refused(f"OBJECT_CREATE of {type.name} {id} was answered with {reply}")

    def _do(self, opcode: int, type: int, id: int, data: bytes = b"", flags: int = 0) -> Reply:
        head = ObjectCommand(type=type, id=id, flags=flags).pack()
        return self.admin.ask(opcode, head + data, room=ROOM_FOR_ALL)

    def _opcodes(self) -> tuple[int, int]:
        """Of QUERY and MODIFY, in whose numbers the specification contradicts itself (errata.py)."""
        as_text = int(AdminOpcode.OBJECT_QUERY), int(AdminOpcode.OBJECT_MODIFY)
        if self._query is None:
            self._query = as_text[0]
            id, probe = self.resources.groups_limit - 1, FfGroup(group_priority=_PROBE).pack()
            if self.create(FfObject.GROUP, id, probe).ok:
                reply = self._do(as_text[0], FfObject.GROUP, id, probe)
                self.destroy(FfObject.GROUP, id)
                if reply.ok and not reply.result:
                    self._query = as_text[1]
                    note = f"opcode {as_text[0]:#x} modifies, {as_text[1]:#x} queries, as in the table of 2.12.1"
                    self.bench.note(note)
        return as_text if self._query == as_text[0] else (as_text[1], as_text[0])

    # What objects are made of

    @property
    def ethernet(self) -> Selector:
        """All of the Ethernet header that the device can match; raises ``NotApplicable``."""
        if FfHeader.ETH not in self.selectors:
            raise NotApplicable("the device cannot match Ethernet headers")
        return Selector(FfHeader.ETH, self.selectors[FfHeader.ETH].mask)

    def classifier(self, selectors: Sequence[Selector] = ()) -> bytes:
        """A classifier; of the Ethernet header, unless it is said."""
        return pack_selectors(list(selectors) or [self.ethernet])

    @property
    def action(self) -> FfAction:
        """One that the device has; raises ``NotApplicable``."""
        for one in (FfAction.DROP, FfAction.DIRECT_RX_VQ):
            if one in self.actions:
                return one
        raise NotApplicable(f"the device can neither drop nor direct: its actions are {self.actions}")

    def rule(self, keys: Iterable[bytes] = (), **fields: int) -> bytes:
        """A rule of group and classifier 0; for the Ethernet header, unless it is said. ``fields``: of ``FfRule``."""
        key = b"".join(keys) or bytes(len(self.ethernet.mask))
        usual = {"key_length": len(key), "action": self.action, "vq_index": RX}
        return FfRule(**{**usual, **fields}).pack() + key

    def three(self) -> None:
        """Enable all, and make a group, a classifier and a rule, each with id 0; raises ``Refused``."""
        self.enable()
        for type, data in self.samples().items():
            self.must_create(type, 0, data)

    def samples(self, priority: int = 1) -> dict[FfObject, bytes]:
        """Data of an object of each type; ``priority`` of the group, and of the rule as far as ``rank`` lets it."""
        return {
            FfObject.GROUP: group(priority),
            FfObject.CLASSIFIER: self.classifier(),
            FfObject.RULE: self.rule(rule_priority=self.rank(priority)),
        }

    def rank(self, priority: int) -> int:
        """A priority that the device has for rules: it may have few, and rules may have the same."""
        return max(min(priority, self.resources.last_rule_priority - 1), 0)


def group(priority: int) -> bytes:
    """A group's data."""
    return FfGroup(group_priority=priority).pack()
