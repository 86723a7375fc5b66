"""What a person or a program reads: tables, JSON with a schema, errors on stderr."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from ..errors import ExitCode, VfiodpaError


def console(*, stderr: bool = False) -> Console:
    """A console with colours on a terminal only and never with NO_COLOR; elsewhere lines are never folded."""
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    plain = Console(stderr=stderr, highlight=False, color_system=colours)
    return plain if plain.is_terminal else Console(stderr=stderr, highlight=False, width=10_000)


def print_json(schema: str, body: Mapping[str, Any]) -> None:
    """One JSON object with its schema first, for example ``vfiodpa.list/1``."""
    print(json.dumps({"schema": f"vfiodpa.{schema}", **body}, indent=2), flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table, as wide as the terminal lets it be."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out = console()
    with out.capture() as capture:
        out.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()), flush=True)


def print_folded(text: str, *, indent: int = 0, first: str = "") -> None:
    """Words under ``indent``, folded at the terminal's edge; ``first`` stands in front of the first line."""
    width = max(console().width, indent + 20)
    print(
        textwrap.fill(
            text, width, initial_indent=first.ljust(indent), subsequent_indent=" " * indent,
            break_long_words=False, break_on_hyphens=False,
        ),
        flush=True,
    )  # fmt: skip


def print_grid(*rows: tuple[str, str]) -> None:
    """Names and values in two columns; rows without a value are left out."""
    shown = [(name, value) for name, value in rows if value]
    indent = max(len(name) for name, _ in shown) + 2
    for name, value in shown:
        print_folded(value, indent=indent, first=name)


def print_error(error: VfiodpaError, *, as_json: bool) -> None:
    """The error on stderr, as text or as JSON."""
    if as_json:
        body = {
            "schema": "vfiodpa.error/1",
            "error": error.what,
            "device": error.device,
            "cause": error.cause,
            "remedy": error.remedy,
            "exit_code": int(error.exit_code),
        }
        print(json.dumps(body), file=sys.stderr, flush=True)
    else:
        print(f"vfiodpa: {error}", file=sys.stderr, flush=True)


def verdict(ok: bool) -> ExitCode:
    """Done or failed."""
    return ExitCode.DONE if ok else ExitCode.FAILED
