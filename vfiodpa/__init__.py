"""vfiodpa: a userspace vDPA driver framework.

``vfiodpa.open("soft")`` gives a NIC to work with at a prompt; the command line is ``vfiodpa --help``.
"""

from .vdpa.devices import open_nic as open  # noqa: A004 - the name a person expects at a prompt
from .vdpa.nic import Nic

__all__ = ["Nic", "open"]
