"""Administration commands of the self group (ADC), and the capability commands. Ref: virtio 1.3, 2.12.1.2"""

from __future__ import annotations

from ..spec.virtio_admin import (
    AdminOpcode,
    AdminQualifier,
    AdminStatus,
    CapabilityId,
)
from ..spec.virtio_pci import DeviceStatus
from ..validate.admin import Admin, Reply
from ..validate.bench import TX, Bench
from ..validate.check import check
from ..validate.verdict import NotApplicable

Op, Q, S = AdminOpcode, AdminQualifier, AdminStatus
LISTS = 1 << Op.LIST_QUERY | 1 << Op.LIST_USE
NO_GROUPS = (2, 3, 0x7F, 0xFFFF)
CAPABILITIES = (Op.CAP_ID_LIST_QUERY, Op.DEVICE_CAP_GET, Op.DRIVER_CAP_SET)
NO_CAPABILITY = 0xFFFF


def _refused(bench: Bench, what: str, reply: Reply, qualifier: AdminQualifier) -> None:
    seen = f"{what} was answered with {reply}, not with EINVAL and {qualifier.name}"
    bench.must(reply.is_error(S.EINVAL, qualifier), seen)


def _unknown(supported: int) -> list[int]:
    """Opcodes that the device does not have: behind its last, in its holes, and far away."""
    holes = [bit for bit in range(supported.bit_length()) if not supported >> bit & 1]
    return [*holes[:4], supported.bit_length(), 0x7FFF, 0xFFFF]


def _another(supported: int) -> int:
    """An opcode besides the two that are always legal; raises ``NotApplicable``."""
    more = [bit for bit in range(supported.bit_length()) if supported & ~LISTS & 1 << bit]
    if not more:
        raise NotApplicable("the device has no commands but LIST_QUERY and LIST_USE")
    return more[0]


@check("ADC-2")
def a_group_that_is_not_there(bench: Bench) -> None:
    """An invalid group type is refused with Q_INVALID_GROUP."""
    admin = Admin.start(bench)
    for group in NO_GROUPS:
        _refused(bench, f"LIST_QUERY for group type {group}", admin.ask(Op.LIST_QUERY, group=group), Q.INVALID_GROUP)
    far = admin.ask(0x7FFF, group=NO_GROUPS[0])
    _refused(bench, "an unknown opcode for an unknown group (the group comes first)", far, Q.INVALID_GROUP)


@check("ADC-3")
def an_opcode_that_is_not_there(bench: Bench) -> None:
    """An opcode outside LIST_QUERY's result is refused with Q_INVALID_OPCODE."""
    admin = Admin.start(bench)
    for opcode in _unknown(admin.use_all()):
        _refused(bench, f"opcode {opcode:#x}, which is not listed,", admin.ask(opcode), Q.INVALID_OPCODE)


@check("ADC-5")
def success_is_status_ok(bench: Bench) -> None:
    """A command that is carried out has status OK."""
    admin = Admin.start(bench)
    reply = admin.ask(Op.LIST_QUERY)
    bench.must(reply.ok, f"LIST_QUERY was answered with {reply}")
    bench.must(reply.bits & LISTS == LISTS, f"LIST_QUERY lists {reply.bits:#x}, without itself or LIST_USE")
    used = admin.use(reply.bits)
    bench.must(used.ok, f"LIST_USE of all that is listed was answered with {used}")


@check("ADC-6")
def failure_is_another_status(bench: Bench) -> None:
    """A command that cannot be carried out never has status OK."""
    admin = Admin.start(bench)
    supported = admin.use_all()
    for group in NO_GROUPS:
        bench.must(not admin.ask(Op.LIST_QUERY, group=group).ok, f"LIST_QUERY for group type {group} has status OK")
    for opcode in _unknown(supported):
        bench.must(not admin.ask(opcode).ok, f"opcode {opcode:#x}, which is not listed, has status OK")


@check("ADC-7")
def a_refusal_changes_nothing(bench: Bench) -> None:
    """After EINVAL the device is as before: commands in use, features, status, frames."""
    admin = Admin.start(bench)
    supported = admin.use_all()
    before = (bench.device.offered, bench.device.status, supported)
    refused = [admin.ask(Op.LIST_QUERY, group=NO_GROUPS[0]), admin.ask(0xFFFF), admin.use(1 << 60 | supported)]
    if refused[2].ok:
        bench.note("LIST_USE took an opcode that is not listed")
    after = (bench.device.offered, bench.device.status, admin.supported())
    bench.must(after == before, f"features, status and commands were {before} and are {after} after refusals")
    for opcode in range(supported.bit_length()):
        if supported >> opcode & 1 and opcode in CAPABILITIES[:1]:
            reply = admin.ask(opcode)
            bench.must(reply.ok, f"opcode {opcode:#x} was in use; after refusals it is answered with {reply}")
    bench.must(not bench.device.status & DeviceStatus.NEEDS_RESET, "refusals put the device into its error state")
    bench.send(bench.ring(TX))
    bench.wait_used(bench.ring(TX))


@check("ADC-8")
def a_failure_changes_nothing(bench: Bench) -> None:
    """A LIST_USE that fails leaves the list in use as it was."""
    admin = Admin.start(bench)
    supported = admin.use_all()
    another = _another(supported)
    if admin.use(1 << 63).ok:
        raise NotApplicable("the device takes a list of commands that it does not have")
    reply = admin.ask(another, bytes(CapabilityId.size))
    seen = f"opcode {another:#x} was in use; after a LIST_USE that failed it is answered with {reply}"
    bench.must(not reply.is_error(S.EINVAL, Q.INVALID_OPCODE), seen)


@check("ADC-12")
def before_list_use(bench: Bench) -> None:
    """After a reset only LIST_QUERY and LIST_USE are legal."""
    admin = Admin.start(bench)
    another = _another(admin.supported())
    _refused(bench, f"opcode {another:#x} before LIST_USE", admin.ask(another), Q.INVALID_OPCODE)


@check("ADC-13")
def the_list_in_use_is_the_one_given(bench: Bench) -> None:
    """After LIST_USE what is in it is legal, and what is no longer in it is not."""
    admin = Admin.start(bench)
    supported = admin.use_all()
    another = _another(supported)
    reply = admin.ask(another)
    seen = f"opcode {another:#x} is in use, and was answered with {reply}"
    bench.must(not reply.is_error(S.EINVAL, Q.INVALID_OPCODE), seen)
    if not admin.use(LISTS).ok:
        raise NotApplicable("the device does not take a list of LIST_QUERY and LIST_USE alone")
    _refused(bench, f"opcode {another:#x}, no longer in use,", admin.ask(another), Q.INVALID_OPCODE)


@check("ADC-14")
def outside_the_list(bench: Bench) -> None:
    """A command left out of LIST_USE is refused with Q_INVALID_OPCODE, each for itself."""
    admin = Admin.start(bench)
    supported = admin.supported()
    _another(supported)
    for opcode in [bit for bit in range(supported.bit_length()) if supported & ~LISTS & 1 << bit]:
        if admin.use(supported & ~(1 << opcode)).ok:
            _refused(bench, f"opcode {opcode:#x}, left out of LIST_USE,", admin.ask(opcode), Q.INVALID_OPCODE)
        else:
            bench.note(f"the device does not go without opcode {opcode:#x}")


@check("ADC-15")
def the_list_never_shrinks(bench: Bench) -> None:
    """LIST_QUERY lists what it listed before: after LIST_USE, after resets."""
    listed = 0
    for attempt in range(3):
        admin = Admin.start(bench)
        for when in ("", " and LIST_USE"):
            now = admin.supported()
            bench.must(not listed & ~now, f"{listed & ~now:#x} was listed, and is not after {attempt} resets{when}")
            listed |= now
            admin.use(LISTS)


@check("ADC-16")
def a_list_that_was_used_is_taken_again(bench: Bench) -> None:
    """After a reset LIST_USE takes a list that it took before."""
    lists = (Admin.start(bench).use_all(), LISTS)
    taken = [opcodes for opcodes in lists if Admin.start(bench).use(opcodes).ok]
    for opcodes in taken:
        reply = Admin.start(bench).use(opcodes)
        bench.must(reply.ok, f"the list {opcodes:#x} was used before a reset; then it was answered with {reply}")


@check("ADC-17")
def a_list_is_no_reason_to_fail(bench: Bench) -> None:
    """LIST_USE after many resets is not refused for its list."""
    supported = Admin.start(bench).use_all()
    for attempt in range(5):
        reply = Admin.start(bench).use(supported)
        seen = f"LIST_USE of {supported:#x} was answered with {reply} after {attempt + 1} resets"
        bench.must(not reply.is_error(S.EINVAL, Q.INVALID_FIELD), seen)


@check("CAP-1")
def capability_commands_come_together(bench: Bench) -> None:
    """All of CAP_ID_LIST_QUERY, DEVICE_CAP_GET and DRIVER_CAP_SET, or none."""
    supported = Admin.start(bench).supported()
    have = [opcode for opcode in CAPABILITIES if supported >> opcode & 1]
    if not have:
        raise NotApplicable("the device has no capabilities")
    missing = [opcode.name for opcode in CAPABILITIES if opcode not in have]
    bench.must(not missing, f"the device has {', '.join(o.name for o in have)}, but not {', '.join(missing)}")


@check("CAP-8")
def a_capability_that_is_not_there(bench: Bench) -> None:
    """DEVICE_CAP_GET and DRIVER_CAP_SET of an id that is not listed are refused with ENXIO."""
    admin = Admin.start(bench)
    supported = admin.use_all()
    if not supported >> Op.CAP_ID_LIST_QUERY & 1:
        raise NotApplicable("the device has no capabilities")
    listed = admin.capabilities()
    absent = next(id for id in (NO_CAPABILITY, 63, 0) if id >= listed.bit_length() or not listed >> id & 1)
    for opcode in [one for one in CAPABILITIES[1:] if supported >> one & 1]:
        reply = admin.ask(opcode, CapabilityId(id=absent).pack() + bytes(8))
        bench.must(
            reply.status == S.ENXIO,
            f"{opcode.name} of capability {absent}, which is not listed, was answered with {reply}",
        )
