"""Checks: a function for each clause, and what it takes to run it.

    @check("P-COM-14")
    def size_of_a_queue_that_is_not_there(bench: Bench) -> None:
        "``queue_size`` reads 0 past the last queue."
        ...

The docstring's first line is what reports show. Checks are found by importing ``vfiodpa.conformance``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..spec.clauses import CHAPTERS, CLAUSES, Clause, Takes
from ..spec.features import NONE, Feature

if TYPE_CHECKING:
    from .bench import Bench

PACKAGE = "vfiodpa.conformance"
DEADLINE_S = 10.0

Run = Callable[["Bench"], None]


@dataclass(frozen=True, slots=True)
class Check:
    """``features``: that the device must offer, on top of the clause's. ``deadline`` in seconds.

    ``rude``: it breaks rules of the driver, so that the device's recovery is proved afterwards. ``wire``: wants
    somebody at the other end. ``hook``: an event from outside that it wants: link, mtu, announce, fault, busy.
    """

    clause: Clause
    run: Run
    features: Feature = NONE
    deadline: float = DEADLINE_S
    rude: bool = False
    wire: bool = False
    hook: str = ""

    @property
    def title(self) -> str:
        """The first line of the check's docstring, as plain text."""
        return (inspect.getdoc(self.run) or self.clause.text).partition("\n")[0].replace("``", "")

    @property
    def where(self) -> str:
        """File and line, for whoever wants to read it."""
        return f"{self.run.__module__.replace('.', '/')}.py:{self.run.__code__.co_firstlineno}"


_checks: dict[str, Check] = {}


def check(
    clause: str,
    *,
    features: Feature = NONE,
    deadline: float = DEADLINE_S,
    rude: bool = False,
    wire: bool | None = None,
    hook: str = "",
) -> Callable[[Run], Run]:
    """Make a function the check of a clause. One clause has one check."""
    row = CLAUSES[clause]

    def register(run: Run) -> Run:
        if clause in _checks and _checks[clause].run.__qualname__ != run.__qualname__:
            raise ValueError(f"{clause} has a check already: {_checks[clause].where}")
        wired = row.takes is Takes.WIRE if wire is None else wire
        _checks[clause] = Check(row, run, features | row.features, deadline, rude, wired, hook)
        return run

    return register


def all_checks() -> dict[str, Check]:
    """Every check by its clause, in the order of the clause table."""
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith(("test_", "conftest")):
            importlib.import_module(f"{PACKAGE}.{module.name}")
    return {clause: _checks[clause] for clause in CLAUSES if clause in _checks}


def unchecked() -> dict[str, str]:
    """Clauses without a check, and why: that is written in conformance/unchecked.py."""
    module = importlib.import_module(f"{PACKAGE}.unchecked")
    reasons: dict[str, str] = module.UNCHECKED
    return reasons


def wanted(clauses: Iterable[str] = (), groups: Iterable[str] = ()) -> list[Clause]:
    """The named clauses, and those of blocks (``P-COM``) and chapters (``pci``); all when nothing is named.

    Raises ``UsageError`` for a name that is none.
    """
    ids, names = {one.upper() for one in clauses}, {one.upper() for one in groups}
    for name in sorted(ids - set(CLAUSES)):
        raise UsageError(
            f"there is no clause {name}", cause="a DEVICE stands before the options", remedy="vfiodpa validate --list"
        )
    chapters = {name.upper(): {block.id for block in blocks} for name, blocks in CHAPTERS.items()}
    blocks = set().union(*(chapters.get(name, {name}) for name in names))
    for name in sorted(blocks - set().union(*chapters.values())):
        raise UsageError(
            f"there is no group {name}",
            cause=f"chapters are {', '.join(CHAPTERS)}; a DEVICE stands before the options",
            remedy="vfiodpa validate --list",
        )
    if not ids and not names:
        return list(CLAUSES.values())
    return [one for one in CLAUSES.values() if one.id in ids or one.block in blocks]


def select(checks: Iterable[Check], *, clauses: Iterable[str] = (), groups: Iterable[str] = ()) -> list[Check]:
    """The checks of the named clauses, blocks and chapters; all when nothing is named. Raises ``UsageError``."""
    named = list(clauses)
    chosen = {clause.id for clause in wanted(named, groups)}
    found = [check for check in checks if check.clause.id in chosen]
    for name in sorted({one.upper() for one in named} - {check.clause.id for check in found}):
        raise UsageError(f"no check for clause {name}", cause=unchecked().get(name, "nobody wrote one yet"))
    return found
