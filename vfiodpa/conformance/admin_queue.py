"""Administration queues: buffers of any length, order (ADQ). Ref: virtio 1.3, 2.13.1"""

from __future__ import annotations

from ..spec.virtio_admin import AdminCommand, AdminOpcode, AdminQualifier, AdminReply, AdminStatus, opcode_list
from ..validate.admin import ROOM, Admin, Reply, command
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.rings import POISON
from ..validate.verdict import NotApplicable, Refused

Op = AdminOpcode
LISTS = 1 << Op.LIST_QUERY | 1 << Op.LIST_USE
EXCESS = bytes([0xEE]) * 24
QUERY = command(Op.LIST_QUERY)


def _ok(bench: Bench, what: str, reply: Reply) -> Reply:
    bench.must(reply.ok, f"{what} was answered with {reply}")
    return reply


def _poisoned(data: bytes) -> bool:
    return POISON in data


@check("ADQ-1")
def commands_that_are_cut_off(bench: Bench) -> None:
    """What a command lacks of its readable part counts as zeroes."""
    admin = Admin.start(bench)
    for length in (2, 4, 16, AdminCommand.size - 1):  # LIST_QUERY is all zeroes: so is what is missing
        _ok(bench, f"LIST_QUERY of {length} bytes", admin.raw(QUERY[:length]))
    for length in range(1, 8):
        data = opcode_list(LISTS)[:length]
        _ok(bench, f"LIST_USE with {length} bytes of its list", admin.ask(Op.LIST_USE, data))


@check("ADQ-2")
def replies_that_do_not_fit(bench: Bench) -> None:
    """Of a reply that does not fit only the beginning is written."""
    admin = Admin.start(bench)
    whole = _ok(bench, "LIST_QUERY", admin.ask(Op.LIST_QUERY)).written
    for room in (2, 4, AdminReply.size, AdminReply.size + 1, AdminReply.size + 7):
        reply = admin.ask(Op.LIST_QUERY, room=room)
        bench.must(reply.length <= room, f"{reply.length} bytes used of {room}")
        bench.must(
            reply.written[:room] == whole[:room], f"{room} bytes of a reply are not the beginning of the whole one"
        )
        bench.must(set(reply.written[room:]) == {POISON}, f"the device wrote past {room} bytes of room")


@check("ADQ-3")
def commands_with_more_than_they_need(bench: Bench) -> None:
    """What follows a command in its readable part is ignored."""
    admin = Admin.start(bench)
    usual = _ok(bench, "LIST_QUERY", admin.ask(Op.LIST_QUERY))
    more = _ok(bench, f"LIST_QUERY with {len(EXCESS)} bytes behind it", admin.ask(Op.LIST_QUERY, EXCESS))
    bench.must(more.bits == usual.bits, f"LIST_QUERY lists {usual.bits:#x}, with bytes behind it {more.bits:#x}")


@check("ADQ-4")
def room_for_more_than_a_reply(bench: Bench) -> None:
    """Of a writable part that is too long only the reply is written, and its true length told."""
    admin = Admin.start(bench)
    short = _ok(bench, "LIST_QUERY", admin.ask(Op.LIST_QUERY))
    long = _ok(bench, "LIST_QUERY with much room", admin.ask(Op.LIST_QUERY, room=2048))
    bench.must(long.length == short.length, f"{short.length} bytes used of {ROOM}, but {long.length} of 2048")
    bench.must(
        set(long.written[long.length :]) == {POISON}, f"the device wrote past the {long.length} bytes that it told of"
    )
    use = _ok(bench, "LIST_USE", admin.use(LISTS))
    seen = f"LIST_USE has no result, but {use.length} bytes were used (its reply has {AdminReply.size})"
    bench.must(use.length == AdminReply.size, seen)


@check("ADQ-5")
def all_of_a_reply_is_written(bench: Bench) -> None:
    """The writable part is written as far as the reply goes, zeroes too."""
    admin = Admin.start(bench)
    for room in (AdminReply.size, AdminReply.size + 8, ROOM):
        reply = _ok(bench, "LIST_QUERY", admin.ask(Op.LIST_QUERY, room=room))
        bench.must(reply.length >= min(room, AdminReply.size + 8), f"{reply.length} bytes of {room} were used")
        bench.must(not _poisoned(reply.written[: reply.length]), f"bytes of the {reply.length} used were not written")


@check("ADQ-6")
def lengths_are_no_reason_to_fail(bench: Bench) -> None:
    """No command fails for the lengths of its buffers alone."""
    admin = Admin.start(bench)
    for size in (0, 1, 2, 12, AdminCommand.size, AdminCommand.size + 100, 3000):
        for room in (AdminReply.size, AdminReply.size + 3, 1000):
            if size:
                data = QUERY.ljust(size, b"\0")[:size]
                _ok(bench, f"LIST_QUERY of {size} bytes with room for {room}", admin.raw(data, room))


@check("ADQ-7")
def replies_are_multiples_of_64_bits(bench: Bench) -> None:
    """Status, qualifier and what is reserved behind them are written: 64 bits, whatever the result."""
    admin = Admin.start(bench)
    for what, reply in (("LIST_QUERY", admin.ask(Op.LIST_QUERY)), ("an unknown opcode", admin.ask(0xFFFF))):
        head = reply.written[: AdminReply.size]
        bench.must(reply.length >= AdminReply.size, f"the reply to {what} has {reply.length} bytes")
        bench.must(not _poisoned(head), f"the reply to {what} begins with {head.hex(' ')}: not all of it was written")


@check("ADQ-8")
def status_and_qualifier_are_written(bench: Bench) -> None:
    """Both are written, also where nothing else has room, and whether it went well or not."""
    admin = Admin.start(bench)
    poison = POISON | POISON << 8
    for what, data in (("LIST_QUERY", QUERY), ("an unknown opcode", command(0xFFFF))):
        for room in (4, AdminReply.size, ROOM):
            reply = admin.raw(data, room)
            bench.must(reply.status != poison, f"{what} with room for {room} bytes: no status was written")
            bench.must(reply.qualifier != poison, f"{what} with room for {room} bytes: no qualifier was written")


@check("ADQ-9")
def commands_are_processed_in_order(bench: Bench) -> None:
    """Each command sees what those before it did."""
    admin = Admin.start(bench)
    supported = admin.supported()
    others = [bit for bit in range(supported.bit_length()) if supported & ~LISTS & 1 << bit]
    probe = command(others[0]) if others else QUERY
    batch = []
    for _ in range(4):
        batch += [command(Op.LIST_USE, opcode_list(supported)), probe, command(Op.LIST_USE, opcode_list(LISTS)), probe]
    replies = admin.batch(batch)
    if not all(reply.ok for reply in replies[::2]):
        bench.note("the device does not take every list: order was seen by replies alone")
        return
    legal = [reply.status != AdminStatus.EINVAL for reply in replies[1::2]]
    wanted = [True, not others] * 4
    bench.must(legal == wanted, f"commands after LIST_USE with and without them were legal: {legal}, not {wanted}")


@check("ADQ-11", hook="busy")
def busy_changes_nothing(bench: Bench) -> None:
    """A command that is answered EAGAIN or ENOMEM has changed nothing, and can be sent again."""
    admin = Admin.start(bench)
    supported = admin.use_all()
    if supported == LISTS:
        raise NotApplicable("the device has nothing but LIST_QUERY and LIST_USE: what is in use cannot be told")
    more = next(opcode for opcode in AdminOpcode if supported & ~LISTS & 1 << opcode)
    if admin.ask(more).is_error(AdminStatus.EINVAL, AdminQualifier.INVALID_OPCODE):
        raise Refused(f"{more.name} is no legal command, though LIST_USE named it")
    bench.make_it_busy()
    refused = admin.use(LISTS)
    if refused.status not in (AdminStatus.EAGAIN, AdminStatus.ENOMEM):
        raise NotApplicable(f"told to be busy, the device answered LIST_USE with {refused}")
    reply = admin.ask(more)
    gone = reply.is_error(AdminStatus.EINVAL, AdminQualifier.INVALID_OPCODE)
    bench.must(not gone, f"LIST_USE was answered with {refused}, and still took {more.name} away")
    _ok(bench, "LIST_USE, sent again,", admin.use(LISTS))
