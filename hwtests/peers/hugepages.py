"""Huge pages for a while: reserved when that is allowed, given back afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

PAGE_MB = 2
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def _free_pages() -> int:
    return int((POOL / "free_hugepages").read_text())


@contextlib.contextmanager
def reserved(megabytes: int) -> Iterator[str]:
    """Have so much memory free as 2 MiB pages inside the block; yields ``""``, or the reason why there is not.

    DPDK takes them by memfd: nothing has to be mounted.
    """
    total = POOL / "nr_hugepages"
    if not total.exists():
        yield "this kernel has no 2 MiB pages"
        return
    before = total.read_text()
    missing = megabytes // PAGE_MB - _free_pages()
    try:
        if missing > 0:
            total.write_text(str(int(before) + missing))
        yield _why_not(megabytes)
    except PermissionError:
        yield "only root may reserve 2 MiB pages, and too few are free"
    finally:
        if missing > 0:
            with contextlib.suppress(PermissionError):
                total.write_text(before)


def _why_not(megabytes: int) -> str:
    free = _free_pages() * PAGE_MB
    return "" if free >= megabytes else f"the kernel found only {free} MB of {megabytes} MB in 2 MiB pages"
