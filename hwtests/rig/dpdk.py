"""testpmd loads every driver of DPDK that it finds, 180 of them: 10 s at its first start in the machine, 2 s at each.

In there it finds only those that it is linked to, and those for virtio-user.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

LIBRARIES = Path("/usr/lib")
USED = ("librte_net_virtio", "librte_mempool_ring")


def drivers(libraries: Path = LIBRARIES) -> tuple[str, list[str]]:
    """The directory that testpmd looks into, and the files in it that are wanted; nothing where there is no DPDK."""
    program = shutil.which("dpdk-testpmd")
    found = sorted(libraries.glob("*/dpdk/pmds-*"))
    if program is None or len(found) != 1:
        return "", []
    used = [path for name in USED for path in found[0].glob(f"{name}.so.*")]
    names = {path.name for path in used} | set(_linked(Path(program), *used))
    return str(found[0]), sorted(name for name in names if (found[0] / name).exists())


def _linked(*programs: Path) -> list[str]:
    """Names of the libraries that they are linked to."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True, timeout=30).stdout
    return [line.split()[0] for line in said.splitlines() if "=>" in line]
