"""One self-contained page: no network, no other file. The template beside this file says what it looks like."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..results import Run
from .compare import Comparison
from .view import Page, comparison_view, run_view

if TYPE_CHECKING:
    from jinja2 import Template


def run_page(run: Run) -> str:
    """The page of a run."""
    return _render(run_view(run))


def comparison_page(comparison: Comparison) -> str:
    """The page of the second run, each clause beside its verdict in the first."""
    return _render(comparison_view(comparison))


def _render(page: Page) -> str:
    return str(_template().render(page=page, style=_part("page.css"), script=_part("page.js")))


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - each verb would wait for it

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["size"] = size_in_words
    environment.filters["facts"] = facts
    return environment.from_string(_part("page.html.j2"))


@cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def size_in_words(length: int) -> str:
    """``16384`` -> ``'16 KiB'``."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if length >= factor:
            return f"{length / factor:g} {unit}"
    return f"{length} bytes"


def facts(table: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values for people; empty ones are left out."""
    return [(name.replace("_", " "), str(value)) for name, value in table.items() if value not in ("", None)]
