"""What the benchmark makes of its samples. That the samples are true, hwtests/peers shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import tap
from benchmarks.report import SKIPPED, Spread
from benchmarks.vhost_echo import Case, Sample, summary, whole_rounds
from hwtests.peers.backend import counters_of

CASE = Case(64, "split_mrg")


def sample(kind: str, number: int, pps: int, case: Case = CASE) -> Sample:
    return Sample(kind, case, number, pps, cycles=1e9 / pps, dropped=0, preempted=0)


def test_ratios_are_taken_within_a_round() -> None:
    order = [sample("vfiodpa", 0, 200), sample("dpdk", 0, 100), sample("dpdk", 1, 10), sample("vfiodpa", 1, 30)]
    found = summary([*order, sample("dpdk", 0, 7, Case(1518, "split_mrg"))], CASE)
    assert found["ratio pps"] == Spread(2.5, 2.0, 3.0)
    assert found["dpdk pps"] == Spread(55, 10, 100)
    assert found["ratio cycles"].low < found["ratio cycles"].high < 1


def test_a_frame_counts_once_where_it_is_taken_from_the_guest() -> None:
    queue = {"packets": 5, "bytes": 300, "dropped": 1}
    report = {
        "queues": [{"kind": "rx", **queue}, {"kind": "tx", **queue, "packets": 7}, {"kind": "tx", **queue}],
        "workers": [{"busy_cycles": 10}, {"busy_cycles": 20}],
    }
    found = counters_of(report)
    assert (found.from_guest, found.to_guest, found.bytes_from_guest) == (12, 5, 600)
    assert (found.dropped, found.busy_cycles) == (3, 30)


def test_the_tap_benchmark_compares_within_a_round() -> None:
    runs = [("vfiodpa", 0, 2e9), ("qemu", 0, 1e9), ("qemu", 1, 4e9), ("vfiodpa", 1, 2e9)]
    samples = [tap.Sample(kind, "to guest", number, rate, 5.0) for kind, number, rate in runs]
    found = tap.summary([*samples, tap.Sample("qemu", "from guest", 0, 9e9, 9.0)], "to guest")
    assert found["ratio of rates"] == Spread(1.25, 0.5, 2.0)
    assert found["qemu Gbit/s"] == Spread(2.5, 1.0, 4.0)


def test_the_tap_benchmark_says_why_it_does_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert tap.main([]) == SKIPPED
    assert "skipped: a network namespace wants root" in capsys.readouterr().err


def test_an_early_end_leaves_whole_rounds() -> None:
    def stopped() -> Iterator[Sample]:
        yield from (sample("dpdk", number, 1) for number in (0, 0, 1))
        raise KeyboardInterrupt

    assert [found.round for found in whole_rounds(stopped(), 2)] == [0, 0]
