"""``python -m hwtests.rig run [options] -- command…``: one command in the machine; its exit status is ours."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from hwtests.peers.program import ProgramError

from .kernel import VARIABLE
from .machine import Iommu, Machine, Nic
from .vm import Vm, inner_environment, script


def main() -> int:
    options = _parser().parse_args()
    if options.kernel:
        os.environ[VARIABLE] = str(options.kernel)
    machine = Machine(
        nics=tuple(Nic.parse(words) for words in options.nics.split(",") if words),
        iommu=Iommu(options.iommu),
        hugepages=options.hugepages,
        memory_mb=options.memory,
    )
    shared = options.out or Path(tempfile.mkdtemp(prefix="vfiodpa-rig-"))
    shared.mkdir(parents=True, exist_ok=True)
    try:
        with Vm(machine, script(options.command, inner_environment(machine)), shared) as vm:
            outcome = vm.wait(options.timeout, echo=_print)
    except ProgramError as error:
        print(f"rig: {error}", file=sys.stderr)
        return 1
    faults = [line for line in outcome.dmesg.splitlines() if "DMAR" in line and "fault" in line.lower()]
    print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
    print(
        f"rig: exit {outcome.status}, booted in {outcome.boot_s:.1f} s, {outcome.total_s:.1f} s in all; logs: {shared}",
        file=sys.stderr,
    )
    return outcome.status


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hwtests.rig", description=__doc__)
    run = parser.add_subparsers(required=True).add_parser("run", help="boot the machine and run one command in it")
    run.add_argument("--kernel", type=Path, help="image to boot, instead of the one found")
    run.add_argument("--nics", default="split", help="e.g. split,packed+page-per-vq or vfio+wire0,kernel+wire0")
    run.add_argument("--iommu", choices=[kind.value for kind in Iommu], default="intel")
    run.add_argument("--hugepages", type=int, default=0, help="pages of 2 MiB")
    run.add_argument("--memory", type=int, default=3072, help="MiB")
    run.add_argument("--timeout", type=float, default=300.0, help="seconds for the command")
    run.add_argument("--out", type=Path, help="directory for logs and captures (in the machine: /run/rig)")
    run.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
