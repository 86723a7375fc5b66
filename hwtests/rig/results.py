"""What the tests in the machine said: JUnit XML, read back case by case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from hwtests.peers.program import ProgramError


@dataclass(frozen=True, slots=True)
class Case:
    """One test. ``outcome`` is passed, failed or skipped; ``detail`` says why."""

    name: str
    outcome: str
    detail: str = ""


def read(path: Path) -> list[Case]:
    """Every case of a JUnit file. Raises ProgramError when pytest did not come to write one."""
    try:
        root = ElementTree.parse(path).getroot()
    except (FileNotFoundError, ElementTree.ParseError) as error:
        raise ProgramError(f"{path.name}: no results: {error}") from None
    return [_case(element) for element in root.iter("testcase")]


def _case(element: ElementTree.Element) -> Case:
    name = f"{element.get('classname', '')}.{element.get('name', '')}".removeprefix("hwtests.")
    for child in element:
        if child.tag in ("failure", "error"):
            return Case(name, "failed", child.text or child.get("message") or "no reason given")
        if child.tag == "skipped":
            return Case(name, "skipped", child.get("message") or "")
    return Case(name, "passed")
