"""The pages tell the truth: their Python runs, their command lines parse, their links lead somewhere."""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs.generate import PAGES as GENERATED
from vfiodpa.cli.main import build_parser
from vfiodpa.drivers import registry
from vfiodpa.errors import VfiodpaError
from vfiodpa.soft import function as soft_function

TOP = Path(__file__).parent.parent
PAGES = [TOP / "README.md", *sorted(TOP.glob("docs/**/*.md"))]
RUNNING = [
    TOP / "README.md",
    TOP / "docs/tutorial/first-packet.md",
    TOP / "docs/how-to/add-a-driver.md",
    TOP / "docs/how-to/write-a-check.md",
]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
TEST = re.compile(r"`((?:hw)?tests/\S+\.py)::(\w+)`")
CHECKER = doctest.OutputChecker()


def name_of(page: Path) -> str:
    return page.relative_to(TOP).as_posix()


pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


@dataclass(frozen=True, slots=True)
class Block:
    kind: str
    text: str
    line: int  # where its text begins


def blocks(page: Path) -> list[Block]:
    source = page.read_text()
    return [Block(m[2], m[3], source.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(source)]


def at_a_prompt(page: Path, block: Block, names: dict[str, Any], *, may_fail: bool) -> str:
    """What a prompt prints for the block; an error of ours ends it and is printed in one line."""
    printed = io.StringIO()
    tree = ast.parse("\n" * (block.line - 1) + block.text, filename=str(page))
    with contextlib.redirect_stdout(printed):
        try:
            for statement in tree.body:
                code = compile(ast.Interactive([statement]), str(page), "single")
                exec(code, names)
        except VfiodpaError as error:
            if not may_fail:
                raise
            printed.write(f"{type(error).__name__}: {error}\n")
    return printed.getvalue()


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_the_python_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(soft_function, "_names", itertools.count())  # the page's NIC is soft0
    monkeypatch.setattr(registry, "_records", registry.drivers())
    names: dict[str, Any] = {"__name__": "page"}
    steps = blocks(page)
    for block, following in itertools.zip_longest(steps, steps[1:]):
        if block.kind != "python":
            continue
        shown = following if following is not None and following.kind == "text" else None
        got = at_a_prompt(page, block, names, may_fail=shown is not None)
        if shown is not None:
            same = CHECKER.check_output(shown.text, got, doctest.ELLIPSIS)
            assert same, f"{page}:{shown.line} says\n{shown.text}but it prints\n{got}"


def vfiodpa_lines(page: Path) -> Iterator[list[str]]:
    """The words after ``vfiodpa`` of each command line, in blocks and in inline code."""
    source = page.read_text()
    inline = re.findall(r"`(vfiodpa [^`]+)`", source)
    in_blocks = [line for b in blocks(page) if b.kind == "sh" for line in b.text.replace("\\\n", " ").splitlines()]
    for line in [*inline, *in_blocks]:
        words = shlex.split(line, comments=True)
        at = next((i for i, word in enumerate(words) if Path(word).name == "vfiodpa"), None)
        if at is not None:
            end = next((i for i, word in enumerate(words) if i > at and word in ("&", "|", ">", "2>")), len(words))
            yield words[at + 1 : end]


@pages
def test_command_lines_on_a_page_parse(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in vfiodpa_lines(page):
        try:
            build_parser().parse_args(words)
        except SystemExit as end:
            assert end.code == 0, f"{page}: vfiodpa {' '.join(words)}: {capsys.readouterr().err}"


def test_the_readme_has_command_lines() -> None:
    assert len(list(vfiodpa_lines(TOP / "README.md"))) > 3


@pages
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "//" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pages
def test_make_targets_on_a_page_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= known


@pytest.mark.parametrize("path", GENERATED, ids=name_of)
def test_generated_pages_are_up_to_date(path: Path) -> None:
    assert path.read_text() == GENERATED[path](), "python -m docs.generate"


def test_every_page_is_in_the_index() -> None:
    index = TOP / "docs/README.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text())}
    assert [name_of(page) for page in PAGES[1:] if page != index and page.resolve() not in linked] == []


@pages
def test_tests_that_are_named_exist(page: Path) -> None:
    for path, name in TEST.findall(page.read_text()):
        assert f"\ndef {name}(" in (TOP / path).read_text(), f"{path}::{name}"
