"""Results become tables and plots."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.charts import Chart
from benchmarks.publish import by_size, put, vhost_echo

SVG = "{http://www.w3.org/2000/svg}"
CHART = Chart("a < b", ("1", "two\nlines"), {"ours": (1.0, 23.0), "theirs": (4.0, 8.0)})
SPREAD = {"median": 2e6, "low": 1e6, "high": 3e6}


def test_bars_are_as_high_as_their_numbers() -> None:
    bars = [rect for rect in ElementTree.fromstring(CHART.bars()).iter(SVG + "rect") if rect.get("height")]
    heights = [float(rect.get("height", "0")) for rect in bars if rect.get("height") != "12"]
    assert len(heights) == 4
    assert heights[1] / heights[2] == pytest.approx(23 / 4, rel=0.01)


def test_a_curve_has_a_point_for_each_number() -> None:
    lines = [line.get("points", "") for line in ElementTree.fromstring(CHART.lines()).iter(SVG + "polyline")]
    assert [len(points.split()) for points in lines] == [2, 2]


def test_the_axis_ends_at_a_round_number() -> None:
    assert CHART.top == 25
    assert Chart("", ("1",), {"zero": (0.0,)}).top > 0


def test_text_goes_between_its_marks_and_again() -> None:
    page = "a\n<!-- x: python -m benchmarks.publish -->\nold\n<!-- /x -->\nb\n"
    new = put(put(page, "x", "one\\1"), "x", "two")
    assert "two" in new and "one" not in new and "old" not in new
    assert new.startswith("a\n") and new.endswith("b\n")


def test_a_page_without_the_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places for x"):
        put("nothing", "x", "text")


def test_sizes_are_columns() -> None:
    rows = by_size({"split 64": "1", "split 1518": "2", "packed 64": "3", "packed 1518": "4"}).splitlines()
    assert rows[0] == "|  | 64 B | 1518 B |"
    assert rows[-1] == "| packed | 3 | 4 |"


def test_a_run_is_a_row_and_a_plot_for_each_size(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.publish.PLOTS", tmp_path)
    names = [f"{who} {what}" for who in ("vfiodpa", "dpdk", "ratio") for what in ("pps", "cycles")]
    machine = {"cpus": 2, "cpu": "X", "virtual": True, "kernel": "6.1-y", "load_before": 0.1}
    result = {
        "commit": "abc",
        "when": "2026-01-02T03:04:05",
        "machine": machine,
        "pages": "2M",
        "samples": [{"round": 4, "preempted": 51}, {"round": 0, "preempted": 50}],
        "summary": {f"{size} B, split_mrg": dict.fromkeys(names, SPREAD) for size in (64, 256)},
    }
    text = vhost_echo(result)
    assert "5 rounds" in text and "In 1 of 2 runs" in text
    assert "| 64 | split_mrg | 2.00 (1.00..3.00) |" in text
    assert "plots/cycles-64.svg" in text and "plots/cycles-256.svg" in text
