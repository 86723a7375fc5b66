"""A Linux virtual machine as the guest: Debian's kernel, an initramfs made here, QEMU without KVM."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hwtests import debian_kernel

from .program import Program, ProgramError

GUEST = Path(__file__).parent / "guest"
BOOT_S = 120.0  # 8 s alone on two CPUs; the emulator has no KVM
ANSWER_S = 40.0


def initramfs(kernel_directory: Path, target: Path) -> Path:
    """Our init and probe, a static busybox and the kernel's virtio modules, as a cpio archive."""
    root = target.with_suffix(".tree")
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    modules = debian_kernel.load_order(kernel_directory / "modules", debian_kernel.NET)
    for module in modules:
        shutil.copy(module, root / "modules")
    (root / "modules" / "order").write_text("".join(f"{module.name}\n" for module in modules))
    shutil.copy(_busybox(), root / "bin" / "busybox")
    shutil.copy(GUEST / "init", root / "init")
    (root / "init").chmod(0o755)
    debian_kernel.run(
        "gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(root / "probe"), str(GUEST / "probe.c")
    )
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True
    )
    target.write_bytes(packed.stdout)
    return target


def _busybox() -> Path:
    """Debian's busybox-static; /bin is a link to /usr/bin where it lives."""
    found = shutil.which("busybox")
    if found is None:
        raise ProgramError("busybox is not installed: apt-get install busybox-static")
    return Path(found)


class LinuxGuest(Program):
    """A running guest that takes one command a line on its serial port and answers each with one line of JSON."""

    def __init__(
        self,
        socket: Path,
        log: Path,
        kernel_directory: Path,
        ramdisk: Path,
        *,
        page_per_vq: bool = False,
        packed: bool = False,
        pairs: int = 1,
    ) -> None:
        """``page_per_vq``: QEMU's own condition for taking a doorbell page from the back end.

        ``pairs``: as many CPUs, since Linux uses a pair for each.
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
        many = (f",queues={pairs}", ",mq=on") if pairs > 1 else ("", "")
        nic = ["-chardev", f"socket,id=vhost,path={socket}", "-netdev", f"vhost-user,id=net,chardev=vhost{many[0]}"]
        # vectors=0: QEMU 7.2 without KVM crashes when a vhost-user NIC uses MSI-X (a null irqfd table, in
        # msix_set_vector_notifiers); the back end sees the same call eventfds with a pin interrupt.
        pages, rings = "on" if page_per_vq else "off", "on" if packed else "off"
        nic += ["-device", f"virtio-net-pci,netdev=net,vectors=0,romfile=,page-per-vq={pages},packed={rings}{many[1]}"]
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
