"""``trace show``: a recording by the declared names of its registers, features and messages."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..errors import ExitCode
from ..trace.file import Recording, load
from ..trace.lines import KIND_WORDS, Row, counted, rows, select
from ..trace.names import Names
from .output import print_grid, print_json


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``show FILE`` and its filters."""
    parser.add_argument("action", metavar="show", choices=["show"], help="what to do")
    parser.add_argument("file", metavar="FILE", type=Path, help="a recording (--trace FILE of other verbs)")
    parser.add_argument(
        "-r", "--register", action="append", default=[], metavar="NAME",
        help="only these registers: common.queue_size, device_status, 'queue_*'; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "-k", "--kind", action="append", default=[], choices=KIND_WORDS, metavar="KIND",
        help=f"only these kinds: {', '.join(KIND_WORDS)}; may be repeated",
    )  # fmt: skip
    parser.add_argument("-a", "--all", action="store_true", help="a line for each record, also of polls")


def run_trace(arguments: argparse.Namespace) -> ExitCode:
    """Show what there is; of a recording that was cut off too, and then fail."""
    recording = load(arguments.file)
    found = select(
        rows(Names(recording.subject), counted(recording.records), fold=not (arguments.all or arguments.json)),
        registers=arguments.register,
        kinds=arguments.kind,
    )
    if arguments.json:
        body = [{"number": row.number, **row.line.to_json()} for row in found]
        print_json("trace/1", {**_subject(recording), "cut": recording.cut, "records": body})
    else:
        _print(recording, list(found))
    recording.whole()
    return ExitCode.DONE


def _subject(recording: Recording) -> dict[str, object]:
    facts = recording.subject.to_json()
    return {name: facts[name] for name in ("device", "started", "bars", "vectors", "iommu")}


def _print(recording: Recording, found: list[Row]) -> None:
    subject = recording.subject
    print_grid(
        ("device", subject.device),
        ("recorded", subject.started),
        ("BARs", ", ".join(f"{index}: {length:#x} bytes" for index, length in subject.bars.items())),
        ("vectors", str(subject.vectors)),
        ("IOMMU", subject.iommu),
        ("records", str(len(recording.records))),
    )
    print()
    for row in found:
        print(row)


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"trace": run_trace}
