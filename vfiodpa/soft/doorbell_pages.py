"""Doorbells that a guest can be given: a memfd with one page for each queue.

The guest's store reaches the worker through shared memory alone, as it reaches a device over the bus.
"""

from __future__ import annotations

import fcntl
import os

from ..memory import Mapping

PAGE = 0x1000


def make_doorbell_pages(queues: int) -> Mapping:
    """Pages of queues 0, 1, ... Sealed: who gets the fd cannot cut them off, which would be a SIGBUS of ours."""
    fd = os.memfd_create("vfiodpa-doorbells", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, queues * PAGE)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return Mapping(fd, queues * PAGE)
