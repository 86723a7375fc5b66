"""Mutants of capabilities and resource objects (virtio 1.4, 2.12.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ...spec.virtio_admin import AdminOpcode, AdminQualifier, AdminStatus, CapabilityId, ObjectHeader
from ...spec.virtio_flow_filter import FfCapability, FfObject, unpack_selectors
from ..admin import AdminQueue
from ..objects import Key, Object
from ..refusal import EXISTS, IN_USE, INVALID_FIELD, NO_ROOM, NO_SUCH, Failed
from .commands import CarryOut, WithQueue, commands
from .mutant import Mutant, around

if TYPE_CHECKING:
    from ..flow_filter import FlowFilter
    from ..virtio_net import VirtioNet

Op = AdminOpcode
ANY = tuple(FfObject)


def flows_of(nic: VirtioNet) -> FlowFilter | None:
    """The NIC's flow filter, if it has one."""
    return nic.admin.admin.flow_filter if nic.admin else None


def key_of(data: bytes) -> Key:
    """Which object a command is about."""
    head = ObjectHeader.unpack(data.ljust(ObjectHeader.size, b"\0"))
    return head.type, head.id


def when_failing(
    opcode: AdminOpcode, failure: tuple[AdminStatus, AdminQualifier], types: Iterable[int] = ANY, *, still: bool = False
) -> WithQueue:
    """A command about objects that should fail so is done, it says; or (``still``) its field is invalid."""
    of = frozenset(types)

    def twist(_queue: AdminQueue, right: CarryOut, code: int, group: int, data: bytes) -> bytes:
        try:
            return right(code, group, data)
        except Failed as error:
            if (code, error.status, error.qualifier) != (opcode, *failure) or key_of(data)[0] not in of:
                raise
            if still:
                raise Failed(*INVALID_FIELD) from error
            return b""

    return twist


def _id(data: bytes) -> int:
    return CapabilityId.unpack(data.ljust(CapabilityId.size, b"\0")).id


def _limits_are_fixed(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if opcode == Op.DRIVER_CAP_SET and _id(data) == FfCapability.RESOURCE:
        device = queue.admin.flow_filter.device[FfCapability.RESOURCE]
        if data[CapabilityId.size :][: len(device)] != device:
            raise Failed(*INVALID_FIELD)
    return right(opcode, group, data)


def _flags_are_fixed(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if opcode == Op.DRIVER_CAP_SET and _id(data) == FfCapability.SELECTOR:
        device = queue.admin.flow_filter.device[FfCapability.SELECTOR]
        flags = {one.type: one.flags for one in unpack_selectors(device)}
        if any(one.flags != flags.get(one.type) for one in unpack_selectors(data[CapabilityId.size :])):
            raise Failed(*INVALID_FIELD)
    return right(opcode, group, data)


def _disabled_in_use(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if opcode == Op.DRIVER_CAP_SET and queue.admin.flow_filter.objects.objects:
        return b""
    return right(opcode, group, data)


def _remembers_capabilities(nic: VirtioNet) -> None:
    flows = flows_of(nic)
    if flows:
        driver = flows.driver

        def clear(real: Callable[[], None]) -> None:
            kept = dict(driver)
            real()
            driver.update(kept)

        around(flows, "clear", clear)


def _unset_is_all(nic: VirtioNet) -> None:
    flows = flows_of(nic)
    if flows:
        driver = flows.driver
        device = {int(id): data for id, data in flows.device.items()}

        def clear(real: Callable[[], None]) -> None:
            real()
            driver.update(device)

        around(flows, "clear", clear)
        driver.update(device)


class _Burns:
    """An id that was destroyed cannot be used again until the device is reset."""

    def __init__(self) -> None:
        self.burnt: set[Key] = set()

    def __call__(self, queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
        if not queue.admin.used:
            self.burnt.clear()
        if opcode == Op.OBJECT_CREATE and key_of(data) in self.burnt:
            raise Failed(*NO_ROOM)
        result = right(opcode, group, data)
        if opcode == Op.OBJECT_DESTROY:
            self.burnt.add(key_of(data))
        return result


def _ids_in_sequence(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    type, id = key_of(data)
    if opcode == Op.OBJECT_CREATE and id > len(queue.admin.flow_filter.objects.of(type)):
        raise Failed(*NO_ROOM)
    return right(opcode, group, data)


def _one_less(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    objects = queue.admin.flow_filter.objects
    type, _ = key_of(data)
    kind = objects.kinds.get(type)
    if opcode == Op.OBJECT_CREATE and kind and len(objects.of(type)) == kind.most - 1 > 1:
        raise Failed(*NO_ROOM)
    return right(opcode, group, data)


def _changes_though_it_fails(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    objects, key = queue.admin.flow_filter.objects.objects, key_of(data)
    try:
        return right(opcode, group, data)
    except Failed:
        if opcode == Op.OBJECT_MODIFY and key in objects and key[0] == FfObject.GROUP:
            objects[key] = Object(data[16:18], objects[key].needs)
        raise


class _Stale:
    """QUERY tells what CREATE wrote, whatever MODIFY did since."""

    def __init__(self) -> None:
        self.created: dict[Key, bytes] = {}

    def __call__(self, queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
        result = right(opcode, group, data)
        key = key_of(data)
        if opcode == Op.OBJECT_CREATE:
            self.created[key] = queue.admin.flow_filter.objects.objects[key].data
        return self.created.get(key, result) if opcode == Op.OBJECT_QUERY else result


def _haunted(nic: VirtioNet) -> None:
    """QUERY still finds what a reset destroyed."""
    flows = flows_of(nic)
    if flows:
        objects, graves = flows.objects, dict[Key, bytes]()

        def clear(real: Callable[[], None]) -> None:
            graves.update({key: one.data for key, one in objects.objects.items()})
            real()

        def query(real: Callable[[int, int], bytes], type: int, id: int) -> bytes:
            try:
                return real(type, id)
            except Failed:
                if (type, id) not in graves:
                    raise
                return graves[type, id]

        around(flows, "clear", clear)
        around(objects, "query", query)


def with_memory(make: Callable[[], WithQueue]) -> Callable[[VirtioNet], None]:
    """A patch whose twist each NIC has for itself."""

    def patch(nic: VirtioNet) -> None:
        commands(make())(nic)

    return patch


MUTANTS: tuple[Mutant, ...] = tuple(
    Mutant(clause, does, also, "admin=on", patch=patch)
    for clause, does, also, patch in (
        ("CAP-2", "it takes no limits but its own", ("CAP-7",), commands(_limits_are_fixed)),
        ("CAP-3", "it takes no flags but its own", (), commands(_flags_are_fixed)),
        ("CAP-7", "capabilities that have objects are disabled, it says", (), commands(_disabled_in_use)),
        ("CAP-9", "capabilities survive a reset", ("CAP-10",), _remembers_capabilities),
        ("CAP-10", "capabilities that were not set are the device's", (), _unset_is_all),
        (
            "OBJ-1",
            "an id that is taken is an invalid field",
            (),
            commands(when_failing(Op.OBJECT_CREATE, EXISTS, still=True)),
        ),
        (
            "OBJ-2",
            "what is not there is destroyed, it says",
            (),
            commands(when_failing(Op.OBJECT_DESTROY, NO_SUCH)),
        ),
        (
            "OBJ-3",
            "an object too many is an invalid field",
            (),
            commands(when_failing(Op.OBJECT_CREATE, NO_ROOM, still=True)),
        ),
        (
            "OBJ-4",
            "objects on which others depend are modified, it says",
            (),
            commands(when_failing(Op.OBJECT_MODIFY, IN_USE)),
        ),
        ("OBJ-5", "an id that was destroyed is not used again", (), with_memory(_Burns)),
        ("OBJ-6", "ids are given in sequence", (), commands(_ids_in_sequence)),
        ("OBJ-8", "there is room for one less", (), commands(_one_less)),
        ("OBJ-9", "a group changes though MODIFY fails", (), commands(_changes_though_it_fails)),
        ("OBJ-10", "QUERY returns what CREATE wrote", (), with_memory(_Stale)),
        ("OBJ-11", "QUERY finds what a reset destroyed", (), _haunted),
    )
)
