"""The software NIC's control queue: the ring in C (csrc/control_ring.h), the commands in Python.

Ref: virtio 1.3, 5.1.6.5. It is served where its doorbell is rung, in the caller's thread and under the
DMA domain's lock: nothing of it is on the fast path.
"""

from __future__ import annotations

import logging
from typing import Any

from .._native import ffi, lib
from ..errors import check
from ..spec.features import Feature
from ..spec.virtio_net import Ack
from ..spec.virtio_ring import PACKED_START
from . import commands
from .engine import EngineError
from .settings import NetState, Refused
from .state import Queue

log = logging.getLogger(__name__)

SIZE = 64  # entries, at most
MAX_AT_ONCE = 2 * SIZE  # commands of one doorbell: a driver that adds more meanwhile rings again
_LOW_64 = (1 << 64) - 1


class ControlQueue:
    """Takes commands from the ring, runs them on ``state`` and answers."""

    def __init__(self, device: str, state: NetState) -> None:
        self.device = device
        self.state = state
        self.enabled = False
        self._index = 0
        box = ffi.new("struct vdp_control **")
        check(lib.vdp_control_init(box), "cannot make a control queue", device=device)
        self._native: Any = ffi.gc(box[0], lib.vdp_control_fini)
        self._command = ffi.new("uint8_t[]", lib.VDP_CONTROL_MAX)

    def enable(self, queue: Queue, dma: Any, features: Feature) -> None:
        """Serve a ring, through a ``struct vdp_dma *``, from its beginning on."""
        conf = ffi.new("struct vdp_queue_conf *")
        conf.desc, conf.driver, conf.device, conf.size = queue.desc, queue.driver, queue.device, queue.size
        conf.last_avail = PACKED_START if features & Feature.RING_PACKED else 0
        rc = lib.vdp_control_enable(self._native, conf, dma, int(features) & _LOW_64)
        check(rc, f"queue {queue.index} cannot be enabled", device=self.device)
        self._index = queue.index
        self.enabled = True

    def disable(self) -> None:
        """Queue reset; what was set stays (a device reset clears ``state``)."""
        self.enabled = False

    def serve(self) -> bool:
        """Answer what waits; returns whether the driver wants to be notified of it."""
        call = False
        for _ in range(MAX_AT_ONCE if self.enabled else 0):
            length = lib.vdp_control_take(self._native, self._command)
            if length < 0:
                break
            answer = self._run(length)
            call |= bool(lib.vdp_control_answer(self._native, answer, len(answer)))
        return call

    @property
    def room(self) -> int:
        """Bytes that the answer to the command in hand may have."""
        return int(lib.vdp_control_room(self._native))

    def run(self, state: NetState, command: bytes) -> bytes:
        """Carry out a command (``commands.run``); mutants answer otherwise."""
        return commands.run(state, command)

    def error(self) -> EngineError:
        """How the driver broke the ring; false when it did not."""
        if not self.enabled:
            return EngineError(0, 0, 0)
        out = ffi.new("struct vdp_nic_error *")
        lib.vdp_control_error(self._native, out)
        return EngineError(out.code, self._index, out.detail)

    def _run(self, length: int) -> bytes:
        return self.answer(bytes(ffi.unpack(self._command, min(length, lib.VDP_CONTROL_MAX))), length)

    def answer(self, command: bytes, length: int) -> bytes:
        """The ack, and the command's result. ``length`` is that of the whole, of which ``command`` is the beginning."""
        try:
            if length > len(command):
                raise Refused(f"a command of {length} bytes")
            result = self.run(self.state, command)
        except Refused as error:
            log.info("%s: command refused: %s", self.device, error)
            return bytes([Ack.ERR])
        return bytes([Ack.OK]) + result
