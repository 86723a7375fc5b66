"""One run of the machine: a shell script goes in, its output, exit status and the kernel's log come out."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwtests.peers.program import Program, ProgramError

from . import dpdk, initramfs
from .kernel import TREE, Kernel, choose
from .machine import Machine
from .variants import Variant

BOOT_S = 120.0  # 7 s alone on two CPUs
BUILD_S = 120.0
TEST_S = 100  # one test in there: ten times slower than here
POLL_S = 0.1
FAULT = re.compile(r"DMAR: .*fault|virtio_iommu.*fault", re.IGNORECASE)
PYTHON = TREE / ".venv" / "bin" / "python"
ROOMS = ("hwtests/device", "hwtests/vfio", "hwtests/pci")  # whose tests run in there


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run left behind."""

    status: int
    output: str
    dmesg: str
    boot_s: float
    total_s: float

    @property
    def faults(self) -> list[str]:
        """Accesses that the IOMMU stopped, as the kernel logged them."""
        return [line for line in self.dmesg.splitlines() if FAULT.search(line)]


def script(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """A job that runs ``argv`` in the tree, with the tree's virtual environment in front of PATH."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*lines, f"cd {shlex.quote(str(TREE))}", f"exec {shlex.join(argv)}", ""])


def suites_job(variant: Variant) -> str:
    """A job that runs pytest once per suite: NAME.out, NAME.xml (JUnit) and NAME.status in the shared directory."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in inner_environment(variant.machine).items()]
    lines.append(f"cd {shlex.quote(str(TREE))}")
    for suite in variant.suites:
        base = f"/run/rig/{suite.name}"
        limits = ["-o", f"timeout={TEST_S}", "-o", f"faulthandler_timeout={suite.seconds}"]
        argv = ["timeout", "-k", "10", str(suite.seconds), "python", "-m", "pytest", *suite.arguments, *limits]
        lines.append(f"{shlex.join([*argv, f'--junitxml={base}.xml'])} >{base}.out 2>&1 </dev/null")
        lines.append(f"echo $? >{base}.status; tail -n 1 {base}.out")
    return "\n".join([*lines, ""])


def inner_environment(machine: Machine) -> dict[str, str]:
    """For programs in the machine. Nothing there may write to the tree, and nothing can be built."""
    return {
        "PATH": f"{PYTHON.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/run/home",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Nothing there uses the last two, and importing hypothesis alone takes 6 s.
        "PYTEST_ADDOPTS": "-p no:cacheprovider -p no:hypothesispytest -p no:xdist",
        "VFIODPA_RIG": "1",
        "VFIODPA_RIG_NICS": ",".join(machine.addresses(vfio=True)),
        "VFIODPA_RIG_PEERS": ",".join(machine.addresses(vfio=False)),
    }


class Vm:
    """A running machine. Use as a context manager: leaving it ends QEMU.

    ``shared`` is a directory that host and machine (as /run/rig) both write to.
    """

    def __init__(self, machine: Machine, job: str, shared: Path, kernel: Kernel | None = None) -> None:
        build()
        kernel = kernel or choose()
        self.shared = shared
        self.output_file = shared / "output"
        self._sockets = tempfile.TemporaryDirectory(prefix="vfiodpa-")  # a short path: 107 bytes are the limit
        self.monitor = Path(self._sockets.name) / "qmp"
        (shared / "job").write_text(job)
        (shared / "settings").write_text(_settings(machine))
        ramdisk = initramfs.make(kernel, shared / "initramfs")
        argv = ["qemu-system-x86_64", *machine.argv(shared), *_ports(self.monitor)]
        argv += ["-kernel", str(kernel.image), "-initrd", str(ramdisk), "-append", machine.command_line()]
        self._started = time.monotonic()
        self.console = Program(machine.wrapped(argv), shared / "console.log")

    def __enter__(self) -> Vm:
        return self

    def __exit__(self, *_: object) -> None:
        self.console.kill()
        self._sockets.cleanup()

    def wait(self, timeout: float, echo: Callable[[str], object] = lambda _: None) -> Outcome:
        """Until the job ends. ``echo`` gets its output as it comes.

        Raises ProgramError with the console's end when the machine does not boot, dies, or takes too long.
        """
        found = self.console.wait_for(r"^rig: job starts after ([\d.]+) s", BOOT_S)
        boot_s = time.monotonic() - self._started
        deadline = time.monotonic() + timeout
        shown = 0
        while self.console.running and time.monotonic() < deadline:
            shown = self._show(shown, echo)
            time.sleep(POLL_S)
        self._show(shown, echo)
        if self.console.running:
            self.console.kill()
            raise self._error(f"the job took longer than {timeout:g} s")
        status = self.shared / "status"
        if not status.exists():
            raise self._error(f"the machine died under its job (booted in {found[1]} s)")
        dmesg = (self.shared / "dmesg").read_text(errors="replace")
        return Outcome(int(status.read_text()), self.output(), dmesg, boot_s, time.monotonic() - self._started)

    def output(self) -> str:
        """What the job printed so far."""
        with contextlib.suppress(FileNotFoundError):
            return self.output_file.read_text(errors="replace")
        return ""

    def _show(self, start: int, echo: Callable[[str], object]) -> int:
        with contextlib.suppress(FileNotFoundError):
            new = self.output_file.read_bytes()[start:]
            if new:
                echo(new.decode(errors="replace"))
            return start + len(new)
        return start

    def _error(self, what: str) -> ProgramError:
        job = "\n".join(self.output().splitlines()[-25:])
        console = "\n".join(self.console.output().splitlines()[-40:])
        return ProgramError(f"{what}\n--- the job's last output\n{job}\n--- the console's last output\n{console}")


def _settings(machine: Machine) -> str:
    vfio, kernel = (" ".join(machine.addresses(vfio=flag)) for flag in (True, False))
    directory, drivers = dpdk.drivers()
    names = {"TREE": str(TREE), "VFIO": vfio, "KERNEL": kernel, "DPDK": directory, "DRIVERS": " ".join(drivers)}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in names.items())


def _ports(monitor: Path) -> list[str]:
    """The console is ttyS0; the monitor is a socket here and ttyS1 in the machine."""
    inside = monitor.with_name("inside")
    argv = ["-serial", "stdio", "-qmp", f"unix:{monitor},server=on,wait=off"]
    argv += ["-chardev", f"socket,id=inside,path={inside},server=on,wait=off", "-mon", "chardev=inside,mode=control"]
    return [*argv, "-chardev", f"socket,id=port,path={inside}", "-serial", "chardev:port"]


def build() -> None:
    """Bring the C part and Python's compiled files up to date here: in the machine the tree is read-only, and slow.

    pytest compiles tests its own way, and keeps that when it collects them.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    steps = (
        ["-c", "import vfiodpa"],
        ["-m", "compileall", "-q", "vfiodpa", "hwtests"],
        ["-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *ROOMS],
    )
    for argv in steps:
        done = subprocess.run(
            [PYTHON, *argv],
            cwd=TREE,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=BUILD_S,
        )
        if done.returncode:
            raise ProgramError(f"the tree does not build:\n{done.stdout}{done.stderr}")
