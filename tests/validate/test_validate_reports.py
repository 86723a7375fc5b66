"""Reports as their readers see them: a JUnit parser, an HTML parser, two runs side by side."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from tests.validate.validate_rig import a_run, an_outcome
from vfiodpa.errors import UsageError
from vfiodpa.validate.reports.compare import Change, Comparison, Difference
from vfiodpa.validate.reports.files import Wanted
from vfiodpa.validate.reports.html import comparison_page, run_page, size_in_words
from vfiodpa.validate.reports.junit import junit
from vfiodpa.validate.reports.view import in_words, run_view, time_in_words
from vfiodpa.validate.results import Run
from vfiodpa.validate.verdict import Verdict

HOSTILE = "<script>alert('&')</script> \x00\x1b[31m"
VOID = {"meta", "input", "br", "link", "img"}


def a_mixed_run() -> Run:
    return a_run(
        an_outcome("STS-1", Verdict.PASS),
        an_outcome("STS-2", Verdict.WARN, "it kept quiet", notes=("a note",)),
        an_outcome(
            "STS-3", Verdict.FAIL, HOSTILE, trace=("write      common.device_status  0x0f",), rings=("queue 1",)
        ),
        an_outcome("FEAT-2", Verdict.SKIP, "the device does not offer NET_MQ"),
        an_outcome("FEAT-3", Verdict.REJECT, "no such vector"),
        an_outcome("RFB-2", Verdict.INFO),
        an_outcome("P-COM-14", Verdict.WEDGED, "it did not come back"),
        ended="after P-COM-14: it did not come back",
        unchecked={"ADC-1": "it takes the owner PF"},
    )


# JUnit


def test_junit_is_what_a_parser_expects(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(junit(a_mixed_run()), encoding="utf-8")
    document = JUnitXml.fromfile(str(path))
    assert (document.tests, document.failures, document.errors, document.skipped) == (7, 1, 1, 2)
    assert [suite.name for suite in document] == ["STS", "FEAT", "RFB", "P-COM"]
    results = {case.name.split()[0]: [type(one) for one in case.result] for suite in document for case in suite}
    assert results == {
        "STS-1": [], "STS-2": [], "STS-3": [Failure], "FEAT-2": [Skipped], "FEAT-3": [Skipped], "RFB-2": [],
        "P-COM-14": [Error],
    }  # fmt: skip


def test_junit_says_why_and_what_led_there() -> None:
    root = ElementTree.fromstring(junit(a_mixed_run()).encode())
    failure = root.find(".//failure")
    assert failure is not None and failure.text is not None
    assert failure.get("message") == HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert "common.device_status" in failure.text and "MUST" in failure.text
    assert [one.get("message") for one in root.iter("skipped")] == [
        "the device does not offer NET_MQ",
        "no such vector",
    ]
    assert [one.text for one in root.iter("system-out")] == ["WARN: it kept quiet\na note"]
    verdicts = [one.get("value") for one in root.iter("property") if one.get("name") == "verdict"]
    assert verdicts == ["pass", "warn", "fail", "skip", "reject", "info", "wedged"]


# The page


class Page(HTMLParser):
    """Tags with their attributes, what is visible, and whether everything that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_stands_alone() -> None:
    page = Page(run_page(a_mixed_run()))
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert [link for link in links if not link.startswith("#")] == []
    assert not page.all("link") and len(page.all("script")) == len(page.all("style")) == 1
    assert "@import" not in run_page(a_mixed_run()) and "url(" not in run_page(a_mixed_run())


def test_the_page_has_a_row_for_each_clause_and_links_lead_to_rows() -> None:
    page = Page(run_page(a_mixed_run()))
    rows = {one["id"]: one["data-verdict"] for one in page.all("details") if "id" in one}
    assert rows == {
        "STS-1": "pass", "STS-2": "warn", "STS-3": "fail", "FEAT-2": "skip", "FEAT-3": "reject", "RFB-2": "info",
        "ADC-1": "none", "P-COM-14": "wedged",
    }  # fmt: skip
    assert {one["href"][1:] for one in page.all("a")} <= set(rows)


def test_what_a_device_says_is_text() -> None:
    page = Page(run_page(a_mixed_run()))
    assert HOSTILE.partition(" ")[0] in page.text
    assert len(page.all("script")) == 1


def test_the_page_shows_what_a_reader_needs() -> None:
    text = " ".join(Page(run_page(a_mixed_run())).text.split())
    for words in (
        "0000:3b:00.2", "1af4:1041", "VERSION_1", "wedged", "The run ended early: after P-COM-14", "a note",
        "common.device_status", "queue 1", "it takes the owner PF", "Device Status Field", "12 ms", "kernel", "6.12",
        "23 November 2026, 05:00 UTC",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("run", "word"),
    [
        (a_run(an_outcome()), "passed"),
        (a_run(an_outcome("STS-1", Verdict.FAIL)), "failed"),
        (a_run(an_outcome("STS-1", Verdict.WEDGED), ended="after STS-1"), "wedged"),
        (a_run(an_outcome(), ended="interrupted"), "not finished"),
    ],
)
def test_the_word_on_top(run: Run, word: str) -> None:
    view = run_view(run)
    assert (view.word, view.good) == (word, word == "passed")
    assert f'<p class="stamp">{word}</p>' in run_page(run)


def test_a_run_that_knows_little_of_its_device_has_a_page() -> None:
    assert Page(run_page(a_run(device={"name": "soft0"}))).text.count("soft0") > 1


def test_a_permission_shows_what_was_recorded() -> None:
    run = a_run(an_outcome("RFB-2", Verdict.INFO, notes=("it goes on without", "more")), an_outcome(notes=("quiet",)))
    rows = {row.clause: row.line for row in run_view(run).rows}
    assert rows == {"RFB-2": "it goes on without", "STS-1": ""}


def test_reasons_are_counted() -> None:
    run = a_run(*(an_outcome(f"P-COM-{n}", Verdict.SKIP, "no wire" if n % 3 else "no MQ") for n in range(1, 8)))
    assert [(reason, len(clauses)) for reason, clauses in run_view(run).skips] == [("no wire", 5), ("no MQ", 2)]


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "<1 ms"), (0.012, "12 ms"), (0.0994, "99 ms"), (2.04, "2.0 s")])
def test_times(seconds: float, text: str) -> None:
    assert time_in_words(seconds) == text


def test_sizes_and_dates() -> None:
    assert [size_in_words(one) for one in (12, 1024, 0x180000, 1 << 30)] == ["12 bytes", "1 KiB", "1.5 MiB", "1 GiB"]
    assert in_words("yesterday") == "yesterday"


# Two runs

V = Verdict


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (V.PASS, V.PASS, Change.SAME),
        (V.PASS, V.FAIL, Change.WORSE),
        (V.WARN, V.FAIL, Change.WORSE),
        (V.FAIL, V.WEDGED, Change.WORSE),
        (V.FAIL, V.PASS, Change.BETTER),
        (V.FAIL, V.WARN, Change.BETTER),
        (V.PASS, V.SKIP, Change.CHANGED),
        (V.REJECT, V.PASS, Change.CHANGED),
        (V.SKIP, V.FAIL, Change.CHANGED),
        (V.PASS, None, Change.GONE),
        (None, V.FAIL, Change.NEW),
    ],
)
def test_what_became_of_a_clause(before: Verdict | None, after: Verdict | None, change: Change) -> None:
    one, two = (an_outcome("STS-1", verdict) if verdict else None for verdict in (before, after))
    assert Difference("STS-1", one, two).change is change


def a_comparison() -> Comparison:
    first = a_run(an_outcome("STS-1"), an_outcome("STS-3", V.FAIL, "it was silent"), an_outcome("RST-1"))
    second = a_run(an_outcome("STS-1", V.FAIL, "too early"), an_outcome("STS-3"), an_outcome("FEAT-1"))
    second.device = {**second.device, "revision": 2, "features": ["VERSION_1", "RING_RESET"], "config": {"mtu": 9000}}
    return Comparison(first, second)


def test_two_runs_side_by_side() -> None:
    both = a_comparison()
    assert [(one.clause, one.change.value) for one in both.changed] == [
        ("STS-1", "worse"), ("STS-3", "better"), ("FEAT-1", "new"), ("RST-1", "gone"),
    ]  # fmt: skip
    assert both.worse
    assert both.features == (["RING_RESET"], ["NET_MAC"])
    assert both.facts == [("revision", "1", "2"), ("mtu", "", "9000")]
    assert both.to_json()["counts"] == {"worse": 1, "better": 1, "changed": 0, "new": 1, "gone": 1, "same": 0}


def test_a_run_beside_itself() -> None:
    both = Comparison(a_mixed_run(), a_mixed_run())
    assert (both.worse, both.changed, both.facts, both.features) == (False, [], [], ([], []))
    assert "Nothing: same device facts" in comparison_page(both)


def test_an_early_end_is_worse() -> None:
    assert Comparison(a_run(an_outcome()), a_run(an_outcome(), ended="it is gone")).worse


def test_the_page_of_two_runs() -> None:
    page = Page(comparison_page(a_comparison()))
    changes = {one["id"]: one["data-change"] for one in page.all("details") if "id" in one}
    assert changes == {"STS-1": "worse", "STS-3": "better", "FEAT-1": "new", "RST-1": "gone"}
    for words in ("worse", "+ RING_RESET", "− NET_MAC", "first run: it was silent", "too early", "9000"):  # noqa: RUF001
        assert words in page.text, words


# Files


def test_a_directory_gets_all_of_them(tmp_path: Path) -> None:
    wanted = Wanted.of(tmp_path / "new" / "lab", None, tmp_path / "ci.xml", None)
    wanted.check()
    written = wanted.write(a_mixed_run())
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "new/lab/report.html", "ci.xml", "new/lab/run.json",
    ]  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_place_that_cannot_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UsageError, match=r"cannot make .*EEXIST|cannot make .*ENOTDIR"):
        Wanted.of(blocked / "lab", None, None, None).check()
    with pytest.raises(UsageError, match="is a directory"):
        Wanted.of(None, tmp_path, None, None).check()
