"""vfiodpa: a userspace vDPA driver framework.

``vfiodpa.open("soft")`` gives a NIC to work with at a prompt; the command line is ``vfiodpa --help``.
"""

from .vdpa.devices import open_nic as open
from .vdpa.nic import Nic

__all__ = ["Nic", "open"]
