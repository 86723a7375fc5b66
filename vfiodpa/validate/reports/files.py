"""Reports as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import LimitError, UsageError, errno_name
from ...whole_file import check_writable, write_whole
from ..results import Run
from .compare import Comparison
from .html import comparison_page, run_page
from .junit import junit


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where each report goes; ``None``: nowhere."""

    html: Path | None = None
    junit: Path | None = None
    json: Path | None = None

    @classmethod
    def of(cls, directory: Path | None, html: Path | None, junit: Path | None, json: Path | None) -> Wanted:
        """All of them in ``directory``, but those that have a place of their own."""
        if directory is None:
            return cls(html, junit, json)
        return cls(html or directory / "report.html", junit or directory / "junit.xml", json or directory / "run.json")

    def check(self) -> None:
        """Make their directories, and see that they can be written, before a run that takes minutes.

        Raises ``UsageError`` or ``LimitError``.
        """
        for path in (self.html, self.junit, self.json):
            if path is not None:
                _make(path.parent)
                if path.is_dir():
                    raise UsageError(f"{path} is a directory", remedy=f"--report {path}")
                _try(f"cannot write {path}", partial(check_writable, path))

    def write(self, run: Run) -> list[Path]:
        """Write them; returns the paths. Raises ``LimitError``."""
        return _write_all(
            (self.html, lambda: run_page(run)),
            (self.junit, lambda: junit(run)),
            (self.json, lambda: _json(run.to_json())),
        )

    def write_comparison(self, comparison: Comparison) -> list[Path]:
        """The page and the JSON of two runs; JUnit has no form for that."""
        return _write_all(
            (self.html, lambda: comparison_page(comparison)),
            (self.json, lambda: _json(comparison.to_json())),
        )


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body, indent=2) + "\n"


def _write_all(*wanted: tuple[Path | None, Callable[[], str]]) -> list[Path]:
    """Make and write those that have a place."""
    written = []
    for path, make in wanted:
        if path is not None:
            _try(f"cannot write {path}", partial(write_whole, path, make()))
            written.append(path)
    return written


def _make(directory: Path) -> None:
    _try(f"cannot make {directory}", partial(directory.mkdir, parents=True, exist_ok=True))


def _try(what: str, do: Callable[[], None]) -> None:
    try:
        do()
    except (FileExistsError, NotADirectoryError) as error:  # a file where a directory would have to be
        raise UsageError(what, cause=errno_name(error.errno or 0)) from error
    except OSError as error:
        raise LimitError(what, cause=errno_name(error.errno or 0)) from error
