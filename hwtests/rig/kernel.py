"""Which kernel the machine boots."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hwtests import debian_kernel
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

    @property
    def iommufd(self) -> bool:
        """Debian's have none (VFIO's group and type 1 only)."""
        return not self.modules


def full() -> Kernel | None:
    """One with everything built in: what VFIODPA_RIG_KERNEL names, else ours, else one beside the checkout."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise ProgramError(f"{VARIABLE}: there is no file {named}")
        return Kernel(Path(named))
    beside = [parent / SHARED for parent in TREE.parents]
    return next((Kernel(image) for image in [BUILT, *beside] if image.is_file()), None)


def debian() -> Kernel:
    """Debian's own, unpacked into a cache."""
    directory = debian_kernel.fetch()
    modules = debian_kernel.load_order(directory / "modules", debian_kernel.RIG)
    return Kernel(directory / "vmlinuz", tuple(modules))


def choose() -> Kernel:
    """A full one where there is one, else Debian's."""
    return full() or debian()
