"""``validate`` on NICs behind VFIO: one run at a time, and a NIC that is unplugged under it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hwtests.rig.qmp import Qmp
from hwtests.vfio.test_unplugged import UNPLUG_S, is_there, plugged, qmp, unplug  # noqa: F401 # fixtures

ENDS_S = 60.0


@contextmanager
def validating(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has checked something by now."""
    command = [sys.executable, "-m", "vfiodpa", "validate", *words]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            next(line for line in process.stdout if line.split()[:1] in (["PASS"], ["FAIL"], ["SKIP"]))
            yield process
        finally:
            process.kill()


def test_one_run_at_a_time_and_one_that_is_stopped(tmp_path: Path) -> None:
    address = os.environ.get("VFIODPA_RIG_NICS", "").split(",")[0]
    if not address:
        pytest.skip("not inside the rig: there is no NIC to validate")
    report = tmp_path / "run.json"
    with validating(address, "--report-json", str(report)) as process:
        second = subprocess.run(
            [sys.executable, "-m", "vfiodpa", "validate", address, "--clause", "P-COM-14"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ENDS_S,
            check=False,
        )
        assert f"pid {process.pid}" in second.stderr
        process.terminate()
        assert process.wait(ENDS_S) == 130
    assert "stopped by SIGTERM" in json.loads(report.read_text())["ended"]


def test_unplugged_the_run_ends_with_a_report(qmp: Qmp, plugged: str, tmp_path: Path) -> None:  # noqa: F811
    report = tmp_path / "run.json"
    with validating(plugged, "--report-json", str(report)) as process:
        name = unplug(qmp, plugged)
        assert process.wait(UNPLUG_S + ENDS_S) != 0
    qmp.wait_event("DEVICE_DELETED", UNPLUG_S, device=name)
    assert not is_there(plugged)
    run = json.loads(report.read_text())
    assert run["outcomes"], "it had begun"
    assert "wants the function back" in run["ended"] or "gone" in run["ended"]
