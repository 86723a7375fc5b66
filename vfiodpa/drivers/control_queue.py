"""The control queue as a driver uses it: one command at a time, polled, within a deadline.

    control.program(common, queue, features)   # before DRIVER_OK
    control.send(CtrlClass.MQ, MqCommand.VQ_PAIRS_SET, VqPairs(virtqueue_pairs=2).pack())

It is ours, not the guest's, whose control queue stays with its front end. Its ring has the layout that was
negotiated; it takes no interrupt vector. Ref: virtio 1.3, 5.1.6.5.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from .._native import ffi, lib
from ..errors import CommandRefused, DeviceError, StateError, UsageError, check
from ..memory import PAGE_SIZE
from ..pci.function import PciFunction
from ..spec.features import Feature
from ..spec.virtio_net import Ack, CtrlHeader
from ..spec.virtio_pci import NO_VECTOR, CommonCfg
from ..spec.virtio_ring import PACKED_START
from .control_memory import ControlMemory
from .queue import Queue
from .transport import check_present
from .waiting import wait_until

SIZE = 16  # entries: a command takes three

# Offsets in the memory. The first page is read by the device, the second is written too.
AVAILABLE = 16 * SIZE  # behind the descriptors of a split ring; a packed ring's driver event area
COMMAND = 1024
COMMAND_MAX = PAGE_SIZE - COMMAND
USED = PAGE_SIZE  # a packed ring's device event area
DESCRIPTORS = PAGE_SIZE + 1024  # of a packed ring
ACK = PAGE_SIZE + 2048
RESULT_MAX = PAGE_SIZE - 2048 - 1  # bytes behind the ack
UNANSWERED = 0xFF  # no answer that the specification knows


class ControlQueue:
    """Owns its memory and its ring. ``seconds``: how long a command may take."""

    def __init__(self, function: PciFunction, seconds: float) -> None:
        """Raises ``IommuError`` when there is no place for its memory."""
        self.function = function
        self.seconds = seconds
        self.memory = ControlMemory(function.dma, function.name)
        self._ring: Any = ffi.NULL
        self._queue: Queue | None = None  # while the device has the ring
        self._stuck = False  # a command was not answered: its buffers are the device's

    @property
    def ready(self) -> bool:
        """Does the device have the ring?"""
        return self._queue is not None

    def program(self, common: CommonCfg, queue: Queue, features: Feature) -> None:
        """Make an empty ring and enable it (4.1.5.1.3), between FEATURES_OK and DRIVER_OK."""
        if not queue.size_max:
            raise DeviceError(f"there is no control queue {queue.index}", device=self.function.name)
        packed = bool(features & Feature.RING_PACKED)
        size = min(queue.size_max, SIZE)
        self._make_ring(size, packed, bool(features & Feature.EVENT_IDX))
        common.queue_select = queue.index
        common.queue_size = size
        common.queue_msix_vector = NO_VECTOR
        iova = self.memory.iova
        common.queue_desc = iova + (DESCRIPTORS if packed else 0)
        common.queue_driver = iova + AVAILABLE
        common.queue_device = iova + USED
        common.queue_enable = 1
        self._queue = queue

    def forget(self) -> None:
        """The device was reset: it no longer has the ring."""
        self._queue = None
        self._stuck = False

    def close(self) -> None:
        """Free everything; the device must be at rest. Harmless when already closed."""
        self.forget()
        self._free_ring()
        self.memory.close()

    def send(self, kind: IntEnum, command: IntEnum, data: bytes = b"", room: int = 0) -> bytes:
        """Send a command and wait for its answer; the device must run. ``room``: bytes for a result, which it returns.

        Raises ``CommandRefused`` for VIRTIO_NET_ERR, ``DeviceTimeout``, and ``DeviceError`` for any other
        answer and for a device that breaks the ring's rules.
        """
        what = f"the command {command.name}"
        self._check(what, data, room)
        header = CtrlHeader(command_class=kind, command=command).pack()
        self.memory.write(COMMAND, header + data)
        self.memory.write(ACK, bytes([UNANSWERED]) + bytes(room))
        self._offer(len(data), 1 + room)
        self._stuck = True
        try:
            wait_until(self._is_answered, self.seconds, what, self.function)
        except DeviceError:
            check_present(self.function)
            raise
        self._stuck = False
        answer = self.memory.read(ACK, 1 + room)
        self._judge(what, answer[0])
        return answer[1:]

    def _check(self, what: str, data: bytes, room: int) -> None:
        if self._queue is None:
            raise StateError(f"{what}: the control queue is not set up", device=self.function.name)
        if self._stuck:
            raise StateError(f"{what}: an earlier command was not answered", device=self.function.name)
        if CtrlHeader.size + len(data) > COMMAND_MAX or room > RESULT_MAX:
            raise UsageError(f"{what}: {len(data)} bytes, and {room} back, are too many", device=self.function.name)

    def _offer(self, length: int, answer: int) -> None:
        """Header, data and ack as buffers of their own, as drivers have always done it."""
        at = self.memory.iova
        chain = [(at + COMMAND, CtrlHeader.size, 0), (at + COMMAND + CtrlHeader.size, length, 0), (at + ACK, answer, 1)]
        bufs = ffi.new("struct vdp_buf[]", [buffer for buffer in chain if buffer[1]])
        check(lib.vdp_driver_add(self._ring, bufs, len(bufs), 0), "control queue", device=self.function.name)
        lib.vdp_driver_publish(self._ring)
        if self._queue is not None:
            bell = self._queue.doorbell
            self.function.bar(bell.bar).write(bell.offset, bell.width, bell.value)

    def _is_answered(self) -> bool:
        used = ffi.new("struct vdp_used *")
        got = lib.vdp_driver_pop(self._ring, used, 1)
        if got < 0:
            raise DeviceError("the device broke the rules of the control queue's ring", device=self.function.name)
        return bool(got)

    def _judge(self, what: str, answer: int) -> None:
        if answer == Ack.ERR:
            raise CommandRefused(f"the device refused {what}", device=self.function.name)
        if answer != Ack.OK:
            raise DeviceError(
                f"{what} was answered with {answer:#04x}",
                device=self.function.name,
                cause="the answer was never written" if answer == UNANSWERED else "",
            )

    def _make_ring(self, size: int, packed: bool, event_idx: bool) -> None:
        self._free_ring()
        conf = ffi.new("struct vdp_driver_conf *")
        conf.size = size
        conf.start = PACKED_START if packed else 0
        conf.desc = self.memory.pointer(DESCRIPTORS if packed else 0)
        conf.avail = self.memory.pointer(AVAILABLE)
        conf.used = self.memory.pointer(USED)
        conf.flags = lib.VDP_DRIVER_PACKED * packed | lib.VDP_DRIVER_EVENT_IDX * event_idx
        ring = ffi.new("struct vdp_driver **")
        check(lib.vdp_driver_init(ring, conf), "control queue", device=self.function.name)
        self._ring = ring[0]
        lib.vdp_driver_no_calls(self._ring)

    def _free_ring(self) -> None:
        if self._ring != ffi.NULL:
            lib.vdp_driver_fini(self._ring)
            self._ring = ffi.NULL
