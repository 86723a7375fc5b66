"""``validate``: what it prints, writes and returns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.cli_rig import Cli, on_a_terminal
from tests.validate.validate_rig import a_run, an_outcome
from vfiodpa.cli.validate import exit_code
from vfiodpa.cli.validate_screen import Screen
from vfiodpa.errors import ExitCode
from vfiodpa.soft import mutants
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.clauses import CLAUSES
from vfiodpa.validate.check import all_checks
from vfiodpa.validate.profiles import NIC_TODAY, in_profile
from vfiodpa.validate.results import Outcome, Run, load_run
from vfiodpa.validate.verdict import Verdict

FEW = ("--clause", "P-COM-14", "UNS-3")
BROKEN = "soft:mutant=P-COM-14"


# A run


def test_verdicts_under_their_blocks_and_a_last_line(cli: Cli) -> None:
    ran = cli("validate", "soft", *FEW)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert "P-COM  Common configuration structure layout" in lines
    assert f"  PASS   P-COM-14   {all_checks()['P-COM-14'].title}" in lines
    assert re.fullmatch(r"PASSED  2 pass in \d+\.\d s", lines[-1])


def test_a_failure_says_section_level_and_what_was_seen(cli: Cli) -> None:
    ran = cli("validate", BROKEN, *FEW)
    assert ran.code == ExitCode.FAILED
    found = ran.out.partition("findings")[2]
    for words in (
        "PCI Device Layout / Common configuration structure layout",
        "MUST: queue_size reads 0 for an unavailable queue",
        "seen: queue ",
        " is not there",
        "vfiodpa/conformance/common_cfg.py:",
        "FAILED  1 pass, 1 fail in",
    ):
        assert words in found, words


def test_json_alone(cli: Cli) -> None:
    ran = cli("validate", BROKEN, "-j", *FEW)
    run = Run.from_json(ran.json)
    assert (ran.code, [one.verdict.value for one in run.outcomes]) == (1, ["pass", "fail"])
    assert run.outcomes[1].trace[-1].split()[:2] == ["read", "common.queue_size"]


def test_clauses_without_a_check_are_counted(cli: Cli) -> None:
    ran = cli("validate", "soft", "--group", "p-com", "-j")
    run = Run.from_json(ran.json)
    asked = {one.id for one in CLAUSES.values() if one.block == "P-COM" and in_profile(one, NIC_TODAY)}
    assert {one.clause for one in run.outcomes} | set(run.unchecked) <= asked
    assert set(run.unchecked) == asked - set(all_checks())


def test_packed_rings(cli: Cli) -> None:
    ran = cli("validate", "soft", "--packed", "-j", *FEW)
    assert Run.from_json(ran.json).environment["rings"] == "packed"


def test_a_terminal_is_told_what_runs_now_and_has_colours() -> None:
    ran = on_a_terminal("validate", "soft", *FEW)
    assert ran.code == 0
    assert "0/2" in ran.out and "\x1b[32m  PASS" in ran.out
    assert re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", ran.out).rstrip().splitlines()[-1].startswith("PASSED  2 pass in")


def test_no_color_is_honoured() -> None:
    ran = on_a_terminal("validate", BROKEN, *FEW, NO_COLOR="1")
    assert re.findall(r"\x1b\[[0-9;]*m", ran.out) == []


def test_long_findings_are_folded_under_their_clause() -> None:
    ran = on_a_terminal("validate", BROKEN, "--clause", "P-COM-14", columns=60, NO_COLOR="1")
    seen = ran.out.partition("seen:")[2].splitlines()
    assert seen[1].startswith(" " * 20) and len(seen[1]) <= 60


# Exit codes


@pytest.mark.parametrize(
    ("verdicts", "ended", "code"),
    [
        ([Verdict.PASS, Verdict.WARN, Verdict.SKIP], "", ExitCode.DONE),
        ([Verdict.PASS, Verdict.FAIL], "", ExitCode.FAILED),
        ([Verdict.PASS, Verdict.WEDGED], "after STS-1", ExitCode.DEVICE),
        ([Verdict.PASS], "interrupted", ExitCode.FAILED),
        ([Verdict.SKIP, Verdict.REJECT], "", ExitCode.SKIPPED),
    ],
)
def test_exit_codes(verdicts: list[Verdict], ended: str, code: ExitCode) -> None:
    run = a_run(*(an_outcome("STS-1", verdict) for verdict in verdicts), ended=ended)
    assert exit_code(run) is code


@pytest.mark.parametrize("how", [SoftFunction.unplug, SoftFunction.request_release])
def test_a_device_that_is_lost_between_checks(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: Callable[[SoftFunction], None]
) -> None:
    def told(screen: Screen, outcome: Outcome) -> None:
        real(screen, outcome)
        how(opened[0])

    def opening(*words: Any) -> SoftFunction:
        opened.append(SoftFunction(*words))
        return opened[-1]

    real, opened = Screen.told, list[SoftFunction]()
    monkeypatch.setattr(Screen, "told", told)
    monkeypatch.setattr("vfiodpa.vdpa.devices.SoftFunction", opening)
    ran = cli("validate", "soft:port=echo", *FEW, "--report-json", str(tmp_path / "run.json"))
    assert ran.code == ExitCode.DEVICE
    run = load_run(tmp_path / "run.json")
    assert len(run.outcomes) == 1 and run.ended


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clause", "STS-99"], "there is no clause STS-99"),
        (["--group", "chapter"], "there is no group CHAPTER"),
        (["--clause", "RST-1", "soft"], "there is no clause SOFT (a DEVICE stands before the options)"),
        (["--compare", "none.json", "none.json"], "cannot read none.json"),
        (["--html", "."], "is a directory"),
    ],
)
def test_usage_errors(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli("validate", "soft", *words)
    assert (ran.code, said in ran.err) == (2, True)


def test_a_full_disk_does_not_take_the_verdicts_with_it(cli: Cli, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    ran = cli("validate", "soft", "--clause", "P-COM-14", "--html", str(full))
    assert ran.code == 4
    assert "PASSED  1 pass" in ran.out
    assert f"cannot write {full} (ENOSPC" in ran.err


def test_a_report_that_cannot_be_written_is_known_before_the_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vfiodpa.validate.reports.files.check_writable", refuse)
    ran = cli("validate", "soft", "--clause", "P-COM-14", "--html", str(tmp_path / "report.html"))
    assert (ran.code, ran.out) == (4, "")
    assert "EACCES" in ran.err


def test_a_device_that_is_not_there(cli: Cli) -> None:
    assert cli("validate", "ffff:3b:00.2", *FEW).code == 3


# Reports


def test_reports_of_a_run(cli: Cli, tmp_path: Path) -> None:
    ran = cli("validate", BROKEN, *FEW, "--report", str(tmp_path), "--junit", str(tmp_path / "ci.xml"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ci.xml", "report.html", "run.json"]
    assert [line for line in ran.out.splitlines() if line.startswith("written:")] == [
        f"written: {tmp_path}/report.html",
        f"written: {tmp_path}/ci.xml",
        f"written: {tmp_path}/run.json",
    ]
    assert 'class="stamp">failed' in (tmp_path / "report.html").read_text()


@pytest.fixture
def two_runs(tmp_path: Path) -> Iterator[list[str]]:
    first = a_run(an_outcome("STS-1"), an_outcome("STS-3"))
    second = a_run(an_outcome("STS-1", Verdict.FAIL, "too early"), an_outcome("STS-3"))
    second.device = {**second.device, "features": ["VERSION_1"], "revision": 2}
    for name, run in (("a", first), ("b", second)):
        (tmp_path / f"{name}.json").write_text(json.dumps(run.to_json()))
    yield [str(tmp_path / "a.json"), str(tmp_path / "b.json")]


def test_two_runs_compared(cli: Cli, two_runs: list[str], tmp_path: Path) -> None:
    ran = cli("validate", "--compare", *two_runs, "--html", str(tmp_path / "c.html"))
    assert ran.code == ExitCode.FAILED
    assert "worse    STS-1      pass -> fail  too early" in ran.out.splitlines()
    assert "features - NET_MAC" in ran.out
    assert ran.out.splitlines()[-1] == "1 worse, 1 same"
    assert 'class="stamp">worse' in (tmp_path / "c.html").read_text()


def test_compared_as_json_and_the_other_way_round(cli: Cli, two_runs: list[str]) -> None:
    ran = cli("validate", "-j", "--compare", *reversed(two_runs))
    assert (ran.code, ran.json["schema"], ran.json["worse"]) == (0, "vfiodpa.validate.compare/1", False)
    assert [one["change"] for one in ran.json["differences"]] == ["better"]


# Tables


def test_the_list_of_clauses(cli: Cli) -> None:
    ran = cli("validate", "--list", "--profile", "1.4")
    lines = ran.out.splitlines()
    assert (ran.code, lines[-1]) == (0, f"{len(CLAUSES)} clauses, {len(all_checks())} have a check")
    row = next(line for line in lines if line.startswith("P-COM-14 "))
    assert row.split()[:5] == ["P-COM-14", "MUST", "1.0", "function", "yes"]


def test_the_list_as_json(cli: Cli) -> None:
    body = cli("validate", "--list", "-j", "--group", "pci").json
    assert body["schema"] == "vfiodpa.validate.list/1"
    rows = {row["clause"]: row for row in body["clauses"]}
    assert {row["chapter"] for row in rows.values()} == {"pci"}
    assert all((row["check"] is None) is (row["reason"] is not None) for row in rows.values())
    assert rows["P-COM-14"]["mutant"] == mutants.mutant_of("P-COM-14").does


def test_the_self_test_counts_what_is_proved(cli: Cli) -> None:
    ran = cli("validate", "--self-test", "--clause", "P-COM-14")
    lines = [line.split() for line in ran.out.splitlines()]
    assert (ran.code, lines[0]) == (0, ["block", "clauses", "checks", "proved"])
    assert ["P-COM", "1", "1", "1"] in lines
    assert ran.out.splitlines()[-1] == "1 clauses, 1 checks, 1 proved"


def test_what_is_not_proved_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = mutants.Mutant("P-COM-14", "nothing at all")
    monkeypatch.setattr("vfiodpa.validate.selftest.all_mutants", lambda: {"P-COM-14": harmless})
    monkeypatch.setattr("vfiodpa.soft.mutants.all_mutants", lambda: {"P-COM-14": harmless})
    monkeypatch.setattr("vfiodpa.cli.validate_tables.all_mutants", lambda: {"P-COM-14": harmless})
    ran = cli("validate", "--self-test", *FEW)
    assert ran.code == 1
    assert "NOT PROVED P-COM-14: nothing at all" in ran.out
    assert "NO MUTANT  UNS-3" in ran.out
    body = cli("validate", "--self-test", "-j", *FEW).json
    assert [(one["clause"], one["proved"]) for one in body["proofs"]] == [("P-COM-14", False)]
    assert body["without_mutant"] == ["UNS-3"]
