"""In a lab: one run at a time, devices that hang, flood or go away, runs that are stopped, killed and resumed."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.cli_rig import running
from tests.pci.fake_host import FakeHost
from tests.settle import settles
from tests.validate.validate_rig import MUST, SHOULD, a_run, a_runner, an_outcome, make_check
from vfiodpa.errors import LimitError, StateError, UsageError, VfiodpaError
from vfiodpa.soft.faults import Fault
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.trace.traced import innermost
from vfiodpa.validate import runner as runner_module
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.check import Check
from vfiodpa.validate.device import Device
from vfiodpa.validate.hooks import Hooks
from vfiodpa.validate.interrupts import Signals, Stopped
from vfiodpa.validate.lock import DeviceLock, runtime_directory
from vfiodpa.validate.results import Outcome, load_run
from vfiodpa.validate.resume import take_up, write_run
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Overdue, Verdict

OTHER = "STS-3"


def soft_of(bench: Bench) -> SoftFunction:
    function = innermost(bench.function)
    assert isinstance(function, SoftFunction)
    return function


def fine(_bench: Bench) -> None:
    """A device that does right."""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    monkeypatch.setattr(Device.reset, "__defaults__", (0.2,))
    with a_runner() as opened:
        yield opened


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


# Time


def test_a_check_that_never_looks_at_the_clock_is_cut_short(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleeps(_bench: Bench) -> None:
        time.sleep(30)

    monkeypatch.setattr(runner_module, "GRACE_S", 0.05)
    begin = time.monotonic()
    outcome = runner.run_one(make_check(sleeps, deadline=0.05))
    assert time.monotonic() - begin < 10
    assert (outcome.verdict, outcome.reason.partition(",")[0]) == (Verdict.FAIL, "time is up")


def test_an_alarm_that_was_swallowed_rings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfiodpa.validate.interrupts.AGAIN_S", 0.05)
    rung = 0
    with Signals() as signals, pytest.raises(Overdue), signals.within(0.05, "late"):
        try:
            time.sleep(5)
        except Overdue:
            rung += 1
        time.sleep(5)
    assert rung == 1


def test_somebody_elses_alarm_still_rings() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    left, again = signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with Signals() as signals, signals.within(5, "late"):
            pass
        time.sleep(0.3)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left, again)  # pytest-timeout's
    assert rung == [1]


def test_in_another_thread_nothing_is_cut_short() -> None:
    done: list[int] = []

    def work() -> None:
        with Signals() as signals, signals.within(0.001, "late"):
            time.sleep(0.01)
        done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_resets_the_device(number: signal.Signals) -> None:
    def interrupted(bench: Bench) -> None:
        bench.start()
        os.kill(os.getpid(), number)
        time.sleep(5)

    with open_target("soft") as target:
        with Runner(target.function) as runner:
            run = runner.run([make_check(fine), make_check(interrupted, OTHER), make_check(fine, SHOULD)], "1.3")
        assert isinstance(target.function, SoftFunction)
        assert target.function.device.state.status == DeviceStatus(0)
    assert [one.clause for one in run.outcomes] == [MUST]
    assert run.ended == f"stopped by {number.name} during {OTHER}"


def test_between_checks_a_signal_waits_for_its_turn() -> None:
    with a_runner() as runner:
        run = runner.run(
            [make_check(fine), make_check(fine, OTHER)], "1.3", lambda _outcome: os.kill(os.getpid(), signal.SIGTERM)
        )
    assert (len(run.outcomes), run.ended) == (1, "stopped by SIGTERM")


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        with pytest.raises(Stopped), signals.within(1, ""):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        assert signals.asked == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before


# Runs that are kept


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
