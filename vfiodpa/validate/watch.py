"""What memory says at the moment a device writes a word: a thread in C that spins, and a snapshot.

    with Watch(memory, ring.device + 2, areas=[(ring.device, 4096)]) as seen:
        bench.send(ring)
    seen.areas  # [bytes], or None when nothing moved

A race: it refutes, and proves nothing. Ref: virtio 1.3, 2.7.8.2 and 2.8.9 (what is written before what).
"""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from threading import Thread
from typing import Self

from .._native import ffi, lib
from ..errors import check
from ..guest.memory import GuestMemory

TIMEOUT_S = 1.0
START_S = 1.0


class Watch:
    """Spins from ``with`` on until the 16-bit word at ``word`` changes (in the bits of ``mask``), or time is up.

    ``areas``: addresses and lengths of what is copied then, at most ``VDP_WATCH_AREAS``. After the ``with``,
    ``areas`` holds the copies, or ``None`` when the word did not change within ``timeout`` seconds.
    """

    def __init__(
        self,
        memory: GuestMemory,
        word: int,
        areas: Sequence[tuple[int, int]],
        *,
        mask: int = 0xFFFF,
        timeout: float = TIMEOUT_S,
    ) -> None:
        self.areas: list[bytes] | None = None
        self._copies = [ffi.new("char[]", length) for _, length in areas]
        self._native = ffi.new("struct vdp_watch *")
        self._native.word = ffi.cast("uint16_t *", memory.address(word, 2))
        self._native.mask = mask
        self._native.was = memory.load16(word) & mask
        self._native.count = len(areas)
        for at, (gpa, length) in enumerate(areas):
            area = self._native.areas[at]
            area.to, area.length = self._copies[at], length
            setattr(area, "from", ffi.cast("void *", memory.address(gpa, length)))
        self._timeout_ns = int(timeout * 1e9)
        self._thread = Thread(target=self._run, name="watch", daemon=True)

    def _run(self) -> None:
        rc = lib.vdp_watch_run(self._native, self._timeout_ns)  # without the GIL
        if rc != -errno.ETIMEDOUT:
            check(rc, "cannot watch")
            self.areas = [bytes(ffi.unpack(copy, len(copy))) for copy in self._copies]

    def __enter__(self) -> Self:
        self._thread.start()
        end = time.monotonic() + START_S
        while not self._native.watching and time.monotonic() < end:
            time.sleep(0.00005)
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.join()
