"""What a run found, and its JSON form.

``SCHEMA`` names the form; fields are only ever added under the same number.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError, errno_name
from ..spec.clauses import CLAUSES
from .verdict import Verdict

SCHEMA = "vfiodpa.validate/1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One clause: its verdict, why, what was noted, and the last register accesses of a check that did not pass.

    ``seconds`` of the check alone. ``trace``: lines, oldest first (trace/). ``rings``: as they stood then (dump.py).
    """

    clause: str
    verdict: Verdict
    reason: str = ""
    title: str = ""
    where: str = ""
    notes: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()
    seconds: float = 0.0
    rings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """With the clause's own fields, so that a report stands alone."""
        lists = {name: list(getattr(self, name)) for name in ("notes", "trace", "rings")}
        return {**asdict(self), **lists, "verdict": self.verdict.value, **clause_facts(self.clause)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Outcome:
        """The other way round; raises ``KeyError`` or ``ValueError`` for what is no outcome."""
        return cls(
            data["clause"],
            Verdict(data["verdict"]),
            data["reason"],
            data["title"],
            data["where"],
            tuple(data["notes"]),
            tuple(data["trace"]),
            float(data["seconds"]),
            tuple(data.get("rings", ())),
        )


def clause_facts(clause: str) -> dict[str, Any]:
    """What a report says of a clause."""
    row = CLAUSES[clause]
    return {
        "section": row.section,
        "level": row.level.value,
        "since": row.since,
        "takes": row.takes.value,
        "text": row.text,
    }


@dataclass(slots=True)
class Run:
    """A whole run. ``device`` and ``environment``: facts for people (identity.py).

    ``unchecked``: clauses of the selection that have no check, each with the reason.
    """

    device: dict[str, Any]
    environment: dict[str, Any]
    profile: str
    started: str  # ISO 8601, UTC
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    ended: str = ""  # why before the last check; empty: it did not
    unchecked: dict[str, str] = field(default_factory=dict)
    running: str = ""  # the check under way: of a file whose run was killed

    @property
    def counts(self) -> dict[str, int]:
        """How many of each verdict."""
        counted = Counter(outcome.verdict for outcome in self.outcomes)
        return {verdict.value: counted[verdict] for verdict in Verdict}

    @property
    def passed(self) -> bool:
        """Nothing failed, and it came to its end."""
        return not self.ended and not any(outcome.verdict.bad for outcome in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """The whole run."""
        return {
            "schema": SCHEMA,
            "device": self.device,
            "environment": self.environment,
            "profile": self.profile,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "ended": self.ended,
            "running": self.running,
            "counts": self.counts,
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "unchecked": [
                {"clause": clause, "reason": reason, **clause_facts(clause)}
                for clause, reason in self.unchecked.items()
            ],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Run:
        """The other way round; raises ``UsageError`` for another schema, missing fields or unknown clauses."""
        if data.get("schema") != SCHEMA:
            raise UsageError(f"not a validation run: schema {data.get('schema')!r}", cause=f"expected {SCHEMA}")
        try:
            found = cls(
                data["device"],
                data["environment"],
                data["profile"],
                data["started"],
                [Outcome.from_json(one) for one in data["outcomes"]],
                float(data["seconds"]),
                data["ended"],
                {one["clause"]: one["reason"] for one in data.get("unchecked", [])},
                str(data.get("running", "")),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError("not a whole validation run", cause=repr(error)) from error
        strange = sorted({one.clause for one in found.outcomes} | set(found.unchecked))
        if unknown := [clause for clause in strange if clause not in CLAUSES]:
            raise UsageError(f"the run has clauses that are not in the table: {' '.join(unknown)}")
        return found


def load_run(path: Path) -> Run:
    """Read a run from its JSON file. Raises ``UsageError``."""
    try:
        data = json.loads(path.read_text())
        return Run.from_json(data if isinstance(data, dict) else {})
    except OSError as error:
        raise UsageError(f"cannot read {path}", cause=errno_name(error.errno or 0)) from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON", cause=str(error)) from error
