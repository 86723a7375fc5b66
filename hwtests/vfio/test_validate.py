"""A NIC that is unplugged in the middle of ``validate``. Uses up one NIC behind a root port."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwtests.device.dma_faults import FaultLog
from hwtests.footprint import footprint, settled
from hwtests.rig.qmp import Qmp
from hwtests.vfio.child import Child
from hwtests.vfio.test_unplugged import UNPLUG_S, is_there, plugged, qmp, unplug  # noqa: F401 # fixtures
from vfiodpa.cli.main import main
from vfiodpa.errors import ExitCode, UsageError
from vfiodpa.validate.check import all_checks
from vfiodpa.validate.lock import DeviceLock
from vfiodpa.validate.results import load_run

STARTS_S = 40.0  # checks are loaded, the NIC is opened and measured
CLEAR = 5  # syslog(2)


@pytest.fixture
def no_dma_faults(plugged: str) -> Iterator[None]:  # noqa: F811
    """A check means to cause faults (U-13), of its own NIC; the rig is not to find them in the kernel's log."""
    with FaultLog() as log:
        yield
        assert [fault for fault in log.read() if plugged.partition(":")[2] not in fault] == []
    assert ctypes.CDLL(None).klogctl(CLEAR, None, 0) == 0


def outcomes(kept: Path) -> int:
    """How many checks are done, of a run under way."""
    try:
        return len(load_run(kept).outcomes)
    except UsageError:  # not written yet
        return 0


def test_unplugged_the_run_ends_with_its_report(qmp: Qmp, plugged: str, directory: Path) -> None:  # noqa: F811
    kept = directory / "kept.json"
    words = ["validate", plugged, "--resume", str(kept), "--report", str(directory)]

    def run() -> tuple[int, bool]:
        before = footprint()
        return main(words), settled(before) == before

    with Child(lambda _: run()) as child:
        end = time.monotonic() + STARTS_S
        while outcomes(kept) < 2:
            assert time.monotonic() < end, "no check is done"
            time.sleep(0.1)
        name = unplug(qmp, plugged)
        assert child.next(UNPLUG_S) == (ExitCode.DEVICE, True)
    qmp.wait_event("DEVICE_DELETED", UNPLUG_S, device=name)
    assert not is_there(plugged)
    found = load_run(directory / "run.json")
    assert found.ended.startswith("the kernel wants the function back")
    assert 2 <= len(found.outcomes) < len(all_checks()), "in the middle"
    assert {path.name for path in directory.iterdir()} >= {"report.html", "junit.xml"}
    with DeviceLock(plugged):
        pass  # it was given back
