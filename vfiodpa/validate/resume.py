"""A run that is kept in a file as it goes, and taken up again: after a reboot, a power cycle, a kill.

The file is always a whole run; what is lost at most is the check that was under way.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import LimitError, UsageError, errno_name
from ..whole_file import write_whole
from .check import Check, all_checks
from .results import Outcome, Run, load_run
from .verdict import Verdict

KILLED = "the run was killed during this check, or the machine went down; --clause {} runs it alone"


def take_up(path: Path, profile: str, *, packed: bool) -> Run | None:
    """The run in a file, ready to go on; ``None`` where there is no file yet. Raises ``UsageError``.

    The check that was under way counts as WEDGED: run once more, it might take the machine down once more.
    """
    if not path.exists():
        return None
    run = load_run(path)
    rings = "packed" if packed else "split"
    for what, had, wants in (
        ("profile", run.profile, profile),
        ("rings", run.environment.get("rings", rings), rings),
    ):
        if had != wants:
            raise UsageError(
                f"{path} is a run with {what} {had}, not {wants}", remedy="another file, or the same options"
            )
    if run.running:
        check: Check | None = all_checks().get(run.running)
        title, where = (check.title, check.where) if check else ("", "")
        run.outcomes.append(Outcome(run.running, Verdict.WEDGED, KILLED.format(run.running), title, where))
        run.running = ""
    return run


def write_run(path: Path, run: Run) -> None:
    """Write it, and bring it to the disk. Raises ``LimitError``."""
    try:
        write_whole(path, json.dumps(run.to_json()) + "\n", durable=True)
    except OSError as error:
        raise LimitError(f"cannot write {path}", cause=errno_name(error.errno or 0)) from error
