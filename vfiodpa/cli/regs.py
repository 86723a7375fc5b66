"""``regs dump``: registers decoded by their declared names; read-only unless ``--write ... --yes``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from enum import IntFlag
from typing import Any

from ..errors import ExitCode, UsageError
from ..registers import Register, RegisterArray, RegisterBlock
from ..vdpa.blocks import blocks_of, find_block, find_register
from ..vdpa.devices import Access, open_function
from .output import print_json
from .words import add_access, add_noiommu, add_trace

_WRITE = re.compile(r"(\w+)\.(\w+)(?:\[(\d+)\])?=(.+)")


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``dump DEVICE``, which blocks, and what to write first."""
    parser.add_argument("action", metavar="dump", choices=["dump"], help="what to do")
    parser.add_argument("device", metavar="DEVICE", help="PCI address or soft[:key=value,...]")
    add_access(parser)
    add_noiommu(parser)
    add_trace(parser)
    parser.add_argument("-b", "--block", action="append", metavar="NAME", help="only this block; may be repeated")
    parser.add_argument(
        "--write", action="append", default=[], metavar="BLOCK.REG=VALUE",
        help="write a register first: a number, or flags by name (common.device_status=ACKNOWLEDGE|DRIVER)",
    )  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="do write")


def run_regs(arguments: argparse.Namespace) -> ExitCode:
    """Write what was asked for, then dump. No driver runs, so a device that is not well can be looked at."""
    access = Access(arguments.iommu, arguments.unsafe_noiommu, arguments.trace)
    with open_function(arguments.device, access=access) as function:
        blocks = blocks_of(function)
        shown = {name: find_block(blocks, name) for name in arguments.block or blocks}
        writes = [_parse(blocks, text) for text in arguments.write]
        if writes and not arguments.yes:
            wanted = ", ".join(f"{register!r} = {value:#x}" for _, register, value in writes)
            raise UsageError("nothing was written", device=function.name, cause=wanted, remedy="--yes")
        for block, register, value in writes:
            register.store(block, value)
        if arguments.json:
            body = {name: _describe(block) for name, block in shown.items()}
            print_json("regs/1", {"device": function.name, "blocks": body})
        else:
            print("\n\n".join(f"{name}: {block!r}" for name, block in shown.items()), flush=True)
    return ExitCode.DONE


def _parse(blocks: dict[str, RegisterBlock], text: str) -> tuple[RegisterBlock, Register[int], int]:
    match = _WRITE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} says not what to write", remedy="--write common.queue_select=1")
    name, field, index, value = match.groups()
    block = find_block(blocks, name)
    register = find_register(block, field, int(index) if index else None)
    if register.mode in ("ro", "rc"):
        raise UsageError(f"{register.owner}.{register.name} is read-only")
    try:
        return block, register, register.fit(_value(register, value))
    except ValueError as error:
        raise UsageError(f"{text!r} cannot be written", cause=str(error)) from error


def _value(register: Register[int], text: str) -> int:
    """A number, or names of the register's flags joined by ``|``."""
    names: dict[str, int] = getattr(register.kind, "__members__", {})
    words = [word.strip().upper() for word in text.split("|")]
    if all(word in names for word in words):
        return sum({int(names[word]) for word in words})
    try:
        return int(text, 0)
    except ValueError:
        flags = f", nor names of {', '.join(names)} joined by |" if names else ""
        raise ValueError(f"{text!r} is no number{flags}") from None


def _describe(block: RegisterBlock) -> dict[str, Any]:
    values = block.dump()
    rows = [_row(register, values[register.name]) for register in block.registers() if register.name in values]
    return {"layout": type(block).__name__, "ref": block.ref, "registers": dict(rows)}


def _row(register: Register[Any] | RegisterArray, value: int | Sequence[int]) -> tuple[str, dict[str, Any]]:
    row: dict[str, Any] = {"offset": register.offset, "width": register.width, "mode": register.mode}
    if isinstance(value, int):
        row["value"] = int(value)
        if isinstance(value, IntFlag):
            row["flags"] = [flag.name for flag in type(value) if flag in value]
    else:
        row["value"] = [int(one) for one in value]
    return register.name, row


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"regs": run_regs}
