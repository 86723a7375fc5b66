"""Runs that are kept as they go, and gone on with after they were stopped or killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.cli_rig import running
from tests.validate.validate_rig import MUST, OTHER, SHOULD, a_run, an_outcome, fine, make_check
from vfiodpa.errors import LimitError, UsageError
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.check import Check
from vfiodpa.validate.results import load_run
from vfiodpa.validate.resume import take_up, write_run
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.verdict import Verdict


def kept(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_run_is_kept_as_it_goes(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    seen: list[tuple[str, int]] = []

    def look(_bench: Bench) -> None:
        body = kept(path)
        seen.append((body["running"], len(body["outcomes"])))

    runner.run([make_check(look), make_check(look, OTHER)], "1.3", keep=lambda run: write_run(path, run))
    assert seen == [(MUST, 0), (OTHER, 1)]
    assert (kept(path)["running"], len(kept(path)["outcomes"])) == ("", 2)
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]


def test_a_run_goes_on_after_the_outcomes_that_are_there(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run(path, a_run(an_outcome(MUST), profile="1.3", device={}, running=OTHER))
    before = take_up(path, "1.3", packed=False)
    ran: list[str] = []

    def noted(clause: str) -> Check:
        return make_check(lambda _bench: ran.append(clause), clause)

    checks = [noted(one) for one in (MUST, OTHER, SHOULD)]
    run = runner.run(checks, "1.3", before=before)
    assert ran == [SHOULD]
    assert [(one.clause, one.verdict) for one in run.outcomes] == [
        (MUST, Verdict.PASS),
        (OTHER, Verdict.WEDGED),
        (SHOULD, Verdict.PASS),
    ]
    assert run.outcomes[1].reason.startswith("the run was killed during this check")
    assert (run.ended, run.running) == ("", "")


def test_a_run_of_another_device_is_not_gone_on_with(runner: Runner) -> None:
    with pytest.raises(UsageError, match=r"another device .*vendor_id 1234, not 1af4"):
        runner.run([make_check(fine)], "1.3", before=a_run(device={"name": "soft0", "vendor_id": "1234"}))


@pytest.mark.parametrize(
    ("profile", "packed", "what"), [("1.2", False, "profile 1.3, not 1.2"), ("1.3", True, "rings split, not packed")]
)
def test_a_run_goes_on_as_it_began(tmp_path: Path, profile: str, packed: bool, what: str) -> None:
    path = tmp_path / "run.json"
    write_run(path, a_run(profile="1.3"))
    with pytest.raises(UsageError, match=what):
        take_up(path, profile, packed=packed)


def test_without_a_file_it_begins(tmp_path: Path) -> None:
    assert take_up(tmp_path / "none.json", "1.3", packed=False) is None


def test_a_run_that_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="cannot write"):
        write_run(tmp_path / "no/such/run.json", a_run())


def test_killed_and_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    words = ("validate", "soft", "--group", "N-COAL", "P-COM", "--resume", str(path))
    with running(*words) as process:
        while not process.line().lstrip().startswith("PASS"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    lost = load_run(path)
    with running(*words, "-j") as process:
        ran = process.finish()
    found = {one["clause"]: one["verdict"] for one in kept(path)["outcomes"]}
    assert len(found) > len(lost.outcomes)
    wedged = [clause for clause, verdict in found.items() if verdict == "wedged"]
    assert wedged == ([lost.running] if lost.running else [])
    assert ran.code == (6 if lost.running else 0)


def test_stopped_the_report_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with running("validate", "soft", "--report-json", str(path)) as process:
        while not process.line().lstrip().startswith("PASS"):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.finish().code == 130
    body = kept(path)
    assert body["outcomes"]
    assert body["ended"].startswith("stopped by SIGTERM")
