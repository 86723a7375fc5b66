"""Debian's kernel for virtual machines: downloaded with apt and unpacked into a cache, never installed."""

from __future__ import annotations

import graphlib
import lzma
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from hwtests.peers.program import ProgramError

CACHE = Path(__file__).parents[1] / ".cache" / "linux-guest"
METAPACKAGE = "linux-image-amd64"
# What any of our machines loads. One that this kernel has built in, or is too old to have, is not in its package.
NET = ["virtio_pci", "virtio_net"]
RIG = [*NET, "9p", "9pnet_virtio", "vfio_pci", "vfio_iommu_type1", "virtio_iommu", "af_packet", "tun"]
RIG += ["vdpa", "vp_vdpa", "vhost_vdpa", "virtio_vdpa", "vdpa_sim_net", "vduse"]


def fetch(cache: Path = CACHE) -> Path:
    """A directory with ``vmlinuz`` and ``modules/*.ko`` of Debian's newest kernel; downloaded once."""
    depends = run("apt-cache", "depends", METAPACKAGE)
    packages = [word for word in depends.split() if word.startswith("linux-image-") and word != METAPACKAGE]
    if not packages:
        raise ProgramError(f"apt knows no {METAPACKAGE}: apt-get update")
    directory = cache / packages[0]
    wanted, complete = " ".join(RIG), directory / "complete"
    if not complete.exists() or complete.read_text() != wanted:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _unpack(_download(packages[0], directory), directory)
        complete.write_text(wanted)
    return directory


def run(*argv: str, cwd: Path | None = None, timeout: float = 300.0) -> str:
    """A program's output. Raises ProgramError, with that output, when it fails."""
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise ProgramError(f"{' '.join(argv)} failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _download(package: str, directory: Path) -> Path:
    # As the user who runs this: apt's own user may not write to the tree.
    run("apt-get", "-o", "APT::Sandbox::User=", "download", package, cwd=directory)
    return next(directory.glob("*.deb"))


def _unpack(deb: Path, directory: Path) -> None:
    """The kernel, the modules named above and what they need; the rest of the package (300 MB) is thrown away."""
    tree, modules = directory / "tree", directory / "modules"
    modules.mkdir()
    run("dpkg-deb", "-x", str(deb), str(tree))
    found = {path.name.partition(".")[0].replace("-", "_"): path for path in tree.rglob("*.ko*")}
    missing = [name for name in RIG if name in found]
    while missing:
        name = missing.pop()
        target = modules / f"{name}.ko"
        if not target.exists() and name in found:
            target.write_bytes(_plain(found[name]))
            missing += needs(target)
    images = list(tree.glob("boot/vmlinuz-*"))
    if not images or not (modules / "virtio_net.ko").exists():
        raise ProgramError(f"{deb.name} has no kernel, or its modules are packed in a way not known here")
    shutil.move(images[0], directory / "vmlinuz")
    shutil.rmtree(tree)
    deb.unlink()


def _plain(module: Path) -> bytes:
    raw = module.read_bytes()
    return lzma.decompress(raw) if module.suffix == ".xz" else raw


def needs(module: Path) -> list[str]:
    """What a module depends on: it says so itself, and kernels differ."""
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return [name.replace("-", "_") for name in found[1].decode().split(",") if name] if found else []


def load_order(modules: Path, wanted: Iterable[str]) -> list[Path]:
    """Files of the modules named, and of what they need, each after what it needs."""
    graph: dict[str, list[str]] = {}
    missing = list(wanted)
    while missing:
        path = modules / f"{missing.pop()}.ko"
        if path.exists() and path.stem not in graph:
            graph[path.stem] = needs(path)
            missing += graph[path.stem]
    return [modules / f"{name}.ko" for name in graphlib.TopologicalSorter(graph).static_order()]
