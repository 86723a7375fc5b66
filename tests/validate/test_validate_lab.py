"""In a lab: one run at a time, and devices that hang, flood or go away."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from tests.pci.fake_host import FakeHost
from tests.settle import settles
from tests.validate.validate_rig import MUST, OTHER, SHOULD, a_runner, fine, make_check
from vfiodpa.errors import LimitError, StateError, VfiodpaError
from vfiodpa.soft.faults import Fault
from vfiodpa.soft.function import SoftFunction
from vfiodpa.trace.traced import innermost
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.device import Device
from vfiodpa.validate.hooks import Hooks
from vfiodpa.validate.lock import DeviceLock, runtime_directory
from vfiodpa.validate.results import Outcome
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Verdict


def soft_of(bench: Bench) -> SoftFunction:
    function = innermost(bench.function)
    assert isinstance(function, SoftFunction)
    return function


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is not waited for."""
    monkeypatch.setattr(Device.reset, "__defaults__", (0.2,))


# The lock


def test_the_holder_of_a_lock_is_named(tmp_path: Path) -> None:
    with DeviceLock("0000:3b:00.2", tmp_path), pytest.raises(StateError, match=rf"another run .*pid {os.getpid()} "):
        DeviceLock("0000:3b:00.2", tmp_path)


def test_other_devices_have_other_locks_and_a_lock_can_be_had_again(tmp_path: Path) -> None:
    for _ in range(2):
        with DeviceLock("0000:3b:00.2", tmp_path), DeviceLock("0000:3b:00.3", tmp_path):
            pass


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        DeviceLock("a", tmp_path)
        os._exit(0)
    os.waitpid(pid, 0)
    with DeviceLock("a", tmp_path) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_where_no_lock_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LimitError, match="cannot make the lock"):
        DeviceLock("a", tmp_path / "file")


def test_the_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_directory() == Path("/run/vfiodpa")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert runtime_directory() == Path("/run/user/1000/vfiodpa")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime_directory().name == "vfiodpa-1000"


# What is in use


def test_a_nic_with_the_default_route_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfiodpa.validate.lock.ROOTS_OWN", tmp_path / "run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    host = FakeHost.at(tmp_path / "host")
    host.add("0000:3b:00.2", interface="eth0")
    host.default_route("eth0")
    with pytest.raises(StateError, match=r"it is in use, .*default route"):
        open_target("3b:00.2", host=host)
    with DeviceLock("0000:3b:00.2"):
        pass  # it was given back


# Devices that hang, flood, go away


def test_a_device_that_never_resets_ends_the_run(runner: Runner) -> None:
    def hang(bench: Bench) -> None:
        soft_of(bench).inject_fault(Fault.NO_RESET)
        bench.start()

    begin = time.monotonic()
    run = runner.run([make_check(hang), make_check(fine, OTHER)], "1.3")
    assert time.monotonic() - begin < 20
    assert [one.verdict for one in run.outcomes] == [Verdict.WEDGED]
    assert run.ended.startswith(f"after {MUST}: the device did not come back")


def test_a_device_that_a_function_reset_mends_goes_on(runner: Runner) -> None:
    def wedge(bench: Bench) -> None:
        soft_of(bench).inject_fault(Fault.WEDGED)
        bench.start()

    run = runner.run([make_check(wedge), make_check(fine, OTHER)], "1.3")
    assert [one.verdict for one in run.outcomes] == [Verdict.PASS, Verdict.PASS]
    assert not run.ended


def test_a_power_cycle_is_the_last_resort(runner: Runner) -> None:
    def hang(bench: Bench) -> None:
        soft_of(bench).inject_fault(Fault.NO_RESET)
        bench.start()

    def power() -> None:
        function = innermost(runner.function)
        assert isinstance(function, SoftFunction)
        function.inject_fault(None)

    runner.hooks = Hooks(power=power)
    run = runner.run([make_check(hang), make_check(fine, OTHER)], "1.3")
    assert [one.verdict for one in run.outcomes] == [Verdict.WEDGED, Verdict.PASS]
    assert not run.ended and not run.passed


def test_a_power_cycle_that_fails_ends_the_run(runner: Runner) -> None:
    def power() -> None:
        raise VfiodpaError("hook reset_power failed")

    def hang(bench: Bench) -> None:
        soft_of(bench).inject_fault(Fault.NO_RESET)
        bench.start()

    runner.hooks = Hooks(power=power)
    assert runner.run([make_check(hang), make_check(fine, OTHER)], "1.3").ended


@pytest.mark.parametrize("silently", [False, True])
def test_unplugged_in_a_check_the_run_ends_with_what_there_is(runner: Runner, silently: bool) -> None:
    def unplug(bench: Bench) -> None:
        soft_of(bench).unplug(silently=silently)
        bench.start()

    run = runner.run([make_check(fine), make_check(unplug, SHOULD), make_check(fine, OTHER)], "1.3")
    assert [one.verdict for one in run.outcomes] == [Verdict.PASS, Verdict.WEDGED]
    assert "the device is gone" in run.ended


def test_unplugged_between_checks(runner: Runner) -> None:
    def told(_outcome: Outcome) -> None:
        function = innermost(runner.function)
        assert isinstance(function, SoftFunction)
        function.unplug()

    run = runner.run([make_check(fine), make_check(fine, OTHER)], "1.3", told)
    assert len(run.outcomes) == 1
    assert run.ended == "the function failed or is gone: the function was unplugged"


def test_wanted_back_it_is_given_back(runner: Runner) -> None:
    def ask(bench: Bench) -> None:
        soft_of(bench).request_release()

    run = runner.run([make_check(ask), make_check(fine, OTHER)], "1.3")
    assert (len(run.outcomes), run.ended) == (1, "the kernel wants the function back")


def test_what_fails_once_it_is_wanted_back_is_not_held_against_it(runner: Runner) -> None:
    def ask(bench: Bench) -> None:
        soft_of(bench).request_release()
        raise VfiodpaError("the function reset failed", cause="EAGAIN")

    run = runner.run([make_check(fine), make_check(ask, OTHER)], "1.3")
    assert [one.verdict for one in run.outcomes] == [Verdict.PASS]
    assert (run.ended, runner.lost) == (f"the kernel wants the function back, since {OTHER}", True)


def test_gone_before_the_first_check() -> None:
    with a_runner() as runner:
        function = innermost(runner.function)
        assert isinstance(function, SoftFunction)
        function.unplug(silently=True)
        runner.calibrate()
        run = runner.run([make_check(fine)], "1.3")
    assert (run.outcomes, run.passed) == ([], False)
    assert run.ended.startswith("before the first check: ")


def test_a_device_that_floods_interrupts(runner: Runner) -> None:
    def count(bench: Bench) -> None:
        bench.start()
        irq = bench.irq_of(0)
        bench.must(not irq.fired(0.05), "an interrupt that nobody asked for")

    function = innermost(runner.function)
    assert isinstance(function, SoftFunction)
    function.inject_fault(Fault.IRQ_FLOOD)
    begin = time.monotonic()
    run = runner.run([make_check(count), make_check(fine, OTHER)], "1.3")
    assert time.monotonic() - begin < 20
    assert [one.verdict for one in run.outcomes] == [Verdict.FAIL, Verdict.PASS]


def test_a_flood_ends_when_it_is_taken_back() -> None:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    with SoftFunction("soft:fault=irq_flood") as function:
        function.set_irq(0, fd)
        assert settles(lambda: (os.eventfd_read(fd) if select.select([fd], [], [], 0)[0] else 0) > 1, 20)
        function.inject_fault(None)
        function.set_irq(0, fd)
        with pytest.raises(BlockingIOError):
            [os.eventfd_read(fd) for _ in range(2)]
    os.close(fd)


def test_a_bug_in_a_check_ends_the_run_with_a_report(runner: Runner) -> None:
    def bug(_bench: Bench) -> None:
        raise RuntimeError("oops")

    run = runner.run([make_check(fine, OTHER), make_check(bug)], "1.3")
    assert len(run.outcomes) == 1
    assert run.ended == f"internal error in {MUST}: RuntimeError('oops')"
