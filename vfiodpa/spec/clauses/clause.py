"""What a clause row says.

Ref: virtio 1.4, the device requirement blocks. A row is one statement of one block, in our own words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from ..features import NONE, Feature

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4")


class Level(Enum):
    """How binding a clause is (RFC 2119); ``NOTE``: no requirement."""

    MUST = "MUST"
    MUST_NOT = "MUST NOT"
    SHOULD = "SHOULD"
    SHOULD_NOT = "SHOULD NOT"
    RECOMMENDED = "RECOMMENDED"
    MAY = "MAY"
    NOTE = "note"

    @property
    def binding(self) -> bool:
        """Does a deviation fail the device, or only deserve a warning?"""
        return self in (Level.MUST, Level.MUST_NOT)


class Takes(Enum):
    """What it takes to decide a clause from the driver's side."""

    FUNCTION = "D"  # the function alone
    IOMMU = "I"  # mappings that allow less, or none
    WIRE = "W"  # something that sends and hears at the other end of the wire
    EVENT = "F"  # an event or a fault from outside: link flap, firmware hook
    RACE = "H"  # a race, or silence for a while: can refute, not prove
    OWNER = "O"  # the owner PF with virtual functions
    NOTHING = "N"  # permission or inspection: recorded only


@dataclass(frozen=True, slots=True)
class Clause:
    """One statement. ``features`` must be negotiated (or offered) for it to apply; ``since`` a version."""

    id: str
    section: str
    level: Level
    since: str
    takes: Takes
    text: str
    features: Feature = NONE

    @property
    def block(self) -> str:
        """The id without its number: clauses of one block belong together."""
        return self.id.rpartition("-")[0]

    def holds_in(self, version: str) -> bool:
        """Was it there in that version of the specification?"""
        return VERSIONS.index(self.since) <= VERSIONS.index(version)


def row(number: int, level: str, since: str, takes: str, text: str, features: Feature = NONE) -> Clause:
    """A row of a table; its block adds the rest."""
    return Clause(str(number), "", Level[level], since, Takes(takes), text, features)


class Block:
    """The rows of one device requirement block, under the titles of their section."""

    def __init__(self, id: str, section: str, rows: tuple[Clause, ...]) -> None:
        self.id = id
        self.section = section
        self.clauses = tuple(replace(one, id=f"{id}-{one.id}", section=section) for one in rows)
