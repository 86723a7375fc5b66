"""A Linux virtual machine as the guest: Debian's kernel, an initramfs made here, QEMU without KVM."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hwtests import debian_kernel

from .program import Program, ProgramError

GUEST = Path(__file__).parent / "guest"
TOOLS = ("iperf3", "ethtool")
BOOT_S = 120.0  # 8 s alone on two CPUs; the emulator has no KVM
ANSWER_S = 40.0


def initramfs(kernel_directory: Path, target: Path) -> Path:
    """Our init and probe, a static busybox, tools and the kernel's virtio modules, as a cpio archive."""
    root = target.with_suffix(".tree")
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    modules = debian_kernel.load_order(kernel_directory / "modules", debian_kernel.NET)
    for module in modules:
        shutil.copy(module, root / "modules")
    (root / "modules" / "order").write_text("".join(f"{module.name}\n" for module in modules))
    shutil.copy(_busybox(), root / "bin" / "busybox")
    for script, place in {"init": "init", "iperf": "bin/iperf"}.items():
        shutil.copy(GUEST / script, root / place)
        (root / place).chmod(0o755)
    for tool in TOOLS:
        _add_tool(tool, root)
    debian_kernel.run(
        "gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(root / "probe"), str(GUEST / "probe.c")
    )
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True
    )
    target.write_bytes(packed.stdout)
    return target


def _add_tool(name: str, root: Path) -> None:
    """One of this machine's programs and its libraries; where it is not installed, the guest has none."""
    found = shutil.which(name, path=os.defpath + ":/usr/sbin:/sbin")
    if found is None:
        return
    shutil.copy(found, root / "bin")
    for library in re.findall(r"(/\S+) \(0x", debian_kernel.run("ldd", found)):
        place = root / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)


def _busybox() -> Path:
    """Debian's busybox-static; /bin is a link to /usr/bin where it lives."""
    found = shutil.which("busybox")
    if found is None:
        raise ProgramError("busybox is not installed: apt-get install busybox-static")
    return Path(found)


def _netdev(wire: Path | str, pairs: int) -> list[str]:
    """QEMU's arguments for the back end ``net``."""
    queues = f",queues={pairs}" if pairs > 1 else ""
    if isinstance(wire, Path):
        return ["-chardev", f"socket,id=vhost,path={wire}", "-netdev", f"vhost-user,id=net,chardev=vhost{queues}"]
    return ["-netdev", f"tap,id=net,ifname={wire},script=no,downscript=no,vhost=off{queues}"]


class LinuxGuest(Program):
    """A running guest that takes one command a line on its serial port and answers each with one line of JSON."""

    def __init__(
        self,
        wire: Path | str,
        log: Path,
        kernel_directory: Path,
        ramdisk: Path,
        *,
        page_per_vq: bool = False,
        packed: bool = False,
        pairs: int = 1,
    ) -> None:
        """``wire``: the socket of a vhost-user back end, or a tap interface that QEMU is to serve itself.

        ``page_per_vq``: QEMU's own condition for taking a doorbell page from the back end. ``pairs``: as many
        CPUs, since Linux uses a pair for each.
        """
        self.monitor = log.with_suffix(".qmp")  # a Unix socket
        memory = "256M"
        machine = ["-machine", "q35,memory-backend=ram", "-accel", "tcg", "-cpu", "qemu64", "-m", memory]
        machine += ["-smp", str(pairs)]
        machine += ["-object", f"memory-backend-memfd,id=ram,size={memory},share=on"]
        machine += ["-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none"]
        machine += ["-qmp", f"unix:{self.monitor},server=on,wait=off"]
        boot = ["-kernel", str(kernel_directory / "vmlinuz"), "-initrd", str(ramdisk)]
        # ipv6: its own frames would be counted by the server. tsc: no calibration, which takes seconds here.
        # panic: an end, not a hang.
        boot += ["-append", "console=ttyS0 quiet ipv6.disable=1 tsc=reliable panic=-1", "-action", "panic=shutdown"]
        nic = _netdev(wire, pairs)
        # vectors=0: QEMU 7.2 without KVM crashes when a vhost-user NIC uses MSI-X (a null irqfd table, in
        # msix_set_vector_notifiers); the back end sees the same call eventfds with a pin interrupt.
        pages, rings = "on" if page_per_vq else "off", "on" if packed else "off"
        nic += ["-device", f"virtio-net-pci,netdev=net,vectors=0,romfile=,page-per-vq={pages},packed={rings}"]
        nic[-1] += ",mq=on" if pairs > 1 else ""
        super().__init__(["qemu-system-x86_64", *machine, *boot, *nic], log)
        self._mark = 0
        with self.kill_on_error():
            self.wait_booted()

    def wait_booted(self) -> None:
        """Until its init takes commands, after power-on or after ``reboot``."""
        self._answer(BOOT_S)

    def ask(self, line: str) -> Any:
        """One command and its answer. Raises ProgramError on ``!`` answers and on silence."""
        self.send(line)
        return self.answer()

    def run(self, line: str) -> str:
        """A program of the guest's, and what it printed. Raises ProgramError when it fails."""
        answer = self.ask(f"run {line}")
        if answer["status"]:
            raise self._error(f"{line!r} ended with status {answer['status']}: {answer['output']}")
        return str(answer["output"])

    def answer(self) -> Any:
        """That to a line that was only sent."""
        return self._answer(ANSWER_S)

    def reboot(self) -> None:
        self.send("reboot")
        self.wait_booted()

    def poweroff(self) -> None:
        self.send("poweroff")
        self.wait(20)

    def _answer(self, timeout: float) -> Any:
        found = self.wait_for(r"^([=!]) (.*?)\r?\n", timeout, self._mark)
        self._mark += len(self.output(self._mark)[: found.end()].encode())
        if found[1] == "!":
            raise self._error(f"answered: {found[2]}")
        return json.loads(found[2])
