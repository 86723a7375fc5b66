"""A Linux virtual machine as the guest: Debian's kernel, an initramfs made here, QEMU without KVM."""

from __future__ import annotations

import graphlib
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from .program import Program, ProgramError

GUEST = Path(__file__).parent / "guest"
CACHE = Path(__file__).parents[2] / ".cache" / "linux-guest"
METAPACKAGE = "linux-image-amd64"
# What virtio-net needs; one that a kernel has built in is not in its package.
MODULES = ["virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"]
MODULES += ["failover", "net_failover", "virtio_net"]
BOOT_S = 120.0  # 8 s alone on two CPUs; the emulator has no KVM
ANSWER_S = 40.0


def kernel(cache: Path = CACHE) -> Path:
    """A directory with ``vmlinuz`` and ``modules/*.ko`` of Debian's newest kernel; downloaded once, never installed."""
    depends = _run("apt-cache", "depends", METAPACKAGE)
    packages = [word for word in depends.split() if word.startswith("linux-image-") and word != METAPACKAGE]
    if not packages:
        raise ProgramError(f"apt knows no {METAPACKAGE}: apt-get update")
    directory = cache / packages[0]
    if not (directory / "complete").exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _unpack(_download(packages[0], directory), directory)
        (directory / "complete").touch()
    return directory


def _run(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise ProgramError(f"{' '.join(argv)} failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _download(package: str, directory: Path) -> Path:
    # As the user who runs this: apt's own user may not write to the tree.
    _run("apt-get", "-o", "APT::Sandbox::User=", "download", package, cwd=directory)
    return next(directory.glob("*.deb"))


def _unpack(deb: Path, directory: Path) -> None:
    """The kernel and the modules named above; the rest of the package (300 MB) is thrown away."""
    (directory / "modules").mkdir()
    wanted = {f"{name}.ko": directory / "modules" / f"{name}.ko" for name in MODULES}
    dpkg = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    with dpkg, tarfile.open(fileobj=dpkg.stdout, mode="r|") as tar:
        for member in tar:
            name = Path(member.name).name
            target = directory / "vmlinuz" if name.startswith("vmlinuz-") else wanted.get(name)
            if target and (source := tar.extractfile(member)):
                target.write_bytes(source.read())
    deb.unlink()
    if not (directory / "vmlinuz").exists() or not (directory / "modules" / "virtio_net.ko").exists():
        raise ProgramError(f"{deb.name} has no kernel, or its modules are packed in a way not known here")


def initramfs(kernel_directory: Path, target: Path) -> Path:
    """Our init and probe, a static busybox and the kernel's virtio modules, as a cpio archive."""
    root = target.with_suffix(".tree")
    (root / "bin").mkdir(parents=True)
    shutil.copytree(kernel_directory / "modules", root / "modules")
    (root / "modules" / "order").write_text("".join(f"{name}.ko\n" for name in _load_order(root / "modules")))
    shutil.copy(_busybox(), root / "bin" / "busybox")
    shutil.copy(GUEST / "init", root / "init")
    (root / "init").chmod(0o755)
    _run("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(root / "probe"), str(GUEST / "probe.c"))
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True
    )
    target.write_bytes(packed.stdout)
    return target


def _load_order(modules: Path) -> list[str]:
    """Modules after what they depend on, which each says itself and which differs between kernels."""
    needs = {path.stem: re.search(rb"\0depends=([^\0]*)\0", path.read_bytes()) for path in modules.glob("*.ko")}
    graph = {name: found[1].decode().split(",") if found and found[1] else [] for name, found in needs.items()}
    return list(graphlib.TopologicalSorter(graph).static_order())


def _busybox() -> Path:
    """Debian's busybox-static; /bin is a link to /usr/bin where it lives."""
    found = shutil.which("busybox")
    if found is None:
        raise ProgramError("busybox is not installed: apt-get install busybox-static")
    return Path(found)


class LinuxGuest(Program):
    """A running guest that takes one command a line on its serial port and answers each with one line of JSON."""

    def __init__(self, socket: Path, log: Path, kernel_directory: Path, ramdisk: Path) -> None:
        memory = "256M"
        machine = ["-machine", "q35,memory-backend=ram", "-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", memory]
        machine += ["-object", f"memory-backend-memfd,id=ram,size={memory},share=on"]
        machine += ["-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none"]
        boot = ["-kernel", str(kernel_directory / "vmlinuz"), "-initrd", str(ramdisk)]
        # ipv6: its own frames would be counted by the server. tsc: no calibration, which takes seconds here.
        # panic: an end, not a hang.
        boot += ["-append", "console=ttyS0 quiet ipv6.disable=1 tsc=reliable panic=-1", "-action", "panic=shutdown"]
        nic = ["-chardev", f"socket,id=vhost,path={socket}", "-netdev", "vhost-user,id=net,chardev=vhost"]
        # vectors=0: QEMU 7.2 without KVM crashes when a vhost-user NIC uses MSI-X (a null irqfd table, in
        # msix_set_vector_notifiers); the back end sees the same call eventfds with a pin interrupt.
        nic += ["-device", "virtio-net-pci,netdev=net,vectors=0,romfile="]
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
