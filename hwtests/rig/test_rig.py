"""The tests that need VFIO, run in virtual machines; each test in there is a subtest here.

All machines that are asked for run at once, as many as there are processors: each keeps one busy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from hwtests.peers.program import ProgramError
from hwtests.rig import kernel, results
from hwtests.rig.variants import VARIANTS, Variant, Wanted
from hwtests.rig.vm import Outcome, Vm, build, suites_job

OUT = kernel.TREE / "build" / "rig"  # logs, JUnit files and captures of the last run, by variant
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "setpriv": "util-linux",
}


@pytest.fixture(autouse=True)
def _programs() -> None:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")


Running = Mapping[str, Future[Outcome]]


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """The machines of all selected tests, by variant."""
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    machines: list[Vm] = []
    parameters = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    variants = [found["variant"] for found in parameters if "variant" in found]
    build()  # once, before they all would
    try:
        yield {variant.name: pool.submit(_run, variant, machines) for variant in variants}
    finally:
        for machine in machines:  # none is left but after an error or an interrupt
            machine.console.kill()
        pool.shutdown(cancel_futures=True)


def _run(variant: Variant, machines: list[Vm]) -> Outcome:
    out = OUT / variant.name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        with Vm(variant.machine, suites_job(variant), out, _kernel(variant.kernel)) as vm:
            machines.append(vm)
            return vm.wait(sum(suite.seconds for suite in variant.suites) + 30)
    finally:
        (out / "initramfs").unlink(missing_ok=True)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_in_machine(variant: Variant, running: Running, subtests: pytest.Subtests) -> None:
    outcome = running[variant.name].result()
    out = OUT / variant.name
    for suite in variant.suites:
        cases = results.read(out / f"{suite.name}.xml") if (out / f"{suite.name}.xml").exists() else []
        for case in cases:
            with subtests.test(f"{suite.name}: {case.name}"):
                _repeat(case)
        _check_ended(suite.name, out, cases)
    _check_faults(outcome)


def _kernel(wanted: Wanted) -> kernel.Kernel:
    full = kernel.full()
    if wanted is Wanted.FULL and full is None:
        pytest.skip("no kernel with everything built in: make rig-kernel")
    if wanted is Wanted.DEBIAN and full is None:
        pytest.skip("the other machines run Debian's kernel already")
    return full if full and wanted is not Wanted.DEBIAN else kernel.debian()


def _repeat(case: results.Case) -> None:
    if case.outcome == "skipped":
        pytest.skip(case.detail)
    if case.outcome == "failed":
        pytest.fail(case.detail, pytrace=False)


def _check_ended(name: str, out: Path, cases: list[results.Case]) -> None:
    """It may fail (a subtest says so), but not end early or without a test."""
    status = int((out / f"{name}.status").read_text())
    failed = any(case.outcome == "failed" for case in cases)
    if status not in (0, 1) or not cases or (status == 1) != failed:
        tail = "\n".join((out / f"{name}.out").read_text(errors="replace").splitlines()[-40:])
        raise ProgramError(f"{name}: pytest ended with status {status} after {len(cases)} tests\n{tail}")


def _check_faults(outcome: Outcome) -> None:
    """A test in the machine that means to cause faults clears the log: what is left nobody meant."""
    assert outcome.faults == []
