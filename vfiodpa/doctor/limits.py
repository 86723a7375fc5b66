"""Limits of this process, and what guests may like to have."""

from __future__ import annotations

import os
import resource

from ..pci.host import Host
from ..vfio.memlock import is_exempt
from .check import Check, Level

GUEST = 4 << 30  # bytes of a typical guest's memory, all of which is locked while it is served
USELESS = 64 << 20  # no guest is that small


def check_memlock(limit: int | None = None, *, exempt: bool | None = None) -> Check:
    """``limit`` in bytes and ``exempt`` (CAP_IPC_LOCK) as this process has them, unless given."""
    name = "locked memory"
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] if limit is None else limit
    if is_exempt() if exempt is None else exempt:
        return Check(name, Level.OK, "no limit for this process (CAP_IPC_LOCK)")
    if limit == resource.RLIM_INFINITY or limit >= GUEST:
        shown = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit >> 20} MiB"
        return Check(name, Level.OK, shown)
    level = Level.FAIL if limit < USELESS else Level.WARN
    remedy = "sudo prlimit --pid $$ --memlock=unlimited:unlimited (a systemd unit: LimitMEMLOCK=infinity)"
    return Check(name, level, f"{limit >> 10} KiB; a guest of {GUEST >> 30} GiB needs all of its memory locked", remedy)


def check_hugepages(host: Host) -> Check:
    """Guests run faster on them; nothing here needs any."""
    words = {line[0].rstrip(":"): line[1] for line in host.lines(host.proc / "meminfo") if len(line) > 1}
    total, free = words.get("HugePages_Total", "0"), words.get("HugePages_Free", "0")
    return Check("hugepages", Level.INFO, f"{free} free of {total}; not needed")


def check_kvm(host: Host) -> Check:
    """For guests that are virtual machines."""
    node = host.dev / "kvm"
    if os.access(node, os.R_OK | os.W_OK, effective_ids=True):
        return Check("KVM", Level.INFO, "can be used")
    text = "no permission" if node.exists() else "not here: virtual machines are emulated, and slow"
    return Check("KVM", Level.INFO, text)
