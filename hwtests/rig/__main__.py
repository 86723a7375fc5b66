"""``python -m hwtests.rig run [options] -- command…``: one command in the machine; its exit status is ours."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from hwtests.peers.program import ProgramError

from .kernel import Kernel, choose, debian
from .machine import Iommu, Machine
from .nic import Nic
from .vm import Vm, inner_environment, script


def main() -> int:
    options = _parser().parse_args()
    machine = Machine(
        nics=tuple(Nic.parse(words) for words in options.nics.split(",") if words),
        iommu=Iommu(options.iommu),
        hugepages=options.hugepages,
        memory_mb=options.memory,
        extra=tuple(shlex.split(options.qemu)),
    )
    shared = options.out or Path(tempfile.mkdtemp(prefix="vfiodpa-rig-"))
    shared.mkdir(parents=True, exist_ok=True)
    try:
        job = script(options.command, inner_environment(machine))
        with Vm(machine, job, shared, _kernel(options.kernel)) as vm:
            outcome = vm.wait(options.timeout, echo=_print)
    except ProgramError as error:
        _say(f"rig: {error}")
        return 1
    for fault in outcome.faults:
        _say(fault)
    _say(
        f"rig: exit {outcome.status}, booted in {outcome.boot_s:.1f} s, {outcome.total_s:.1f} s in all; logs: {shared}"
    )
    return outcome.status


def _kernel(name: str | None) -> Kernel:
    if name is None:
        return choose()
    return debian() if name == "debian" else Kernel(Path(name))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hwtests.rig", description=__doc__)
    run = parser.add_subparsers(required=True).add_parser("run", help="boot the machine and run one command in it")
    run.add_argument("--kernel", help="image to boot instead of the one found, or debian")
    run.add_argument(
        "--nics", default="split", help="e.g. split,packed+page-per-vq+mq2+hotplug or vfio+wire0,kernel+wire0"
    )
    run.add_argument("--iommu", choices=[kind.value for kind in Iommu], default="intel")
    run.add_argument("--hugepages", type=int, default=0, help="pages of 2 MiB")
    run.add_argument("--memory", type=int, default=3072, help="MiB")
    run.add_argument("--qemu", default="", help="more arguments for QEMU, e.g. '-trace vtd_*' (into console.log)")
    run.add_argument("--timeout", type=float, default=300.0, help="seconds for the command")
    run.add_argument("--out", type=Path, help="directory for logs and captures (in the machine: /run/rig)")
    run.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
