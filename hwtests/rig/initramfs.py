"""The machine's first file system: a static busybox, our init and the kernel's modules, as a cpio archive."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from hwtests.peers.program import ProgramError

from .kernel import Kernel

INIT = Path(__file__).parent / "guest" / "init"
DIRECTORIES = ["bin", "dev", "proc", "sys", "modules", "host", "rig", "tree", "drivers"]


def make(kernel: Kernel, target: Path) -> Path:
    """Write the archive for ``kernel`` to ``target``."""
    root = target.with_suffix(".tree")
    for name in DIRECTORIES:
        (root / name).mkdir(parents=True)
    for module in kernel.modules:
        shutil.copy(module, root / "modules")
    (root / "modules" / "order").write_text("".join(f"{module.name}\n" for module in kernel.modules))
    shutil.copy(_busybox(), root / "bin" / "busybox")
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True
    )
    target.write_bytes(packed.stdout)
    shutil.rmtree(root)
    return target


def _busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        raise ProgramError("busybox is not installed: apt-get install busybox-static")
    return Path(found)
