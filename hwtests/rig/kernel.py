"""Which kernel the machine boots."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hwtests.peers.program import ProgramError

TREE = Path(__file__).parents[2]
VARIABLE = "VFIODPA_RIG_KERNEL"
BUILT = TREE / ".cache" / "rig-kernel" / "bzImage"  # by make rig-kernel
SHARED = Path("shared/rig/bzImage-6.12-vdpa")  # beside the checkout


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel image, and the modules it needs in load order (none when everything is built in)."""

    image: Path
    modules: tuple[Path, ...] = ()


def choose() -> Kernel:
    """The one that VFIODPA_RIG_KERNEL names, else one beside the checkout or built from its config, else Debian's."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise ProgramError(f"{VARIABLE}: there is no file {named}")
        return Kernel(Path(named))
    for image in [*(parent / SHARED for parent in TREE.parents), BUILT]:
        if image.is_file():
            return Kernel(image)
    raise ProgramError(f"no kernel for the rig: set {VARIABLE}, or make rig-kernel")
