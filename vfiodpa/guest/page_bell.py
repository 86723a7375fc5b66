"""A doorbell page that the back end gave us: ringing is a store, as a guest's driver makes it.

Ref: vhost-user, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG; virtio 1.3, 4.1.5.2.
"""

from __future__ import annotations

import os
from typing import Self

from .._native import ffi, lib
from ..errors import Unsupported
from ..memory import PAGE_SIZE, Mapping
from ..pci.function import Doorbell
from ..spec.vhost_user import VringArea
from .channel import Message


class PageBell:
    """The page of one queue, mapped; owns the mapping and its fd."""

    def __init__(self, queue: int, fd: int, area: VringArea) -> None:
        """Takes ``fd`` over. Raises ``Unsupported`` for anything but one page of this host, as QEMU does."""
        if area.length != PAGE_SIZE or area.offset % PAGE_SIZE:
            os.close(fd)
            raise Unsupported(f"the doorbell of queue {queue} is {area.length:#x} bytes at {area.offset:#x}")
        self._page = Mapping(fd, area.length, fd_offset=area.offset)
        address = ffi.cast("void *", self._page.address)
        bell = {"kind": lib.VDP_DOORBELL_MMIO16, "value": queue, "addr": address}
        self.doorbell = Doorbell(ffi.new("struct vdp_doorbell *", bell), self._page)

    @classmethod
    def of(cls, queue: int, area: VringArea, message: Message) -> Self:
        """From a message, whose fd stays the message's."""
        if len(message.fds) != 1:
            raise Unsupported(f"the doorbell of queue {queue} came with {len(message.fds)} fds")
        return cls(queue, os.dup(message.fds[0]), area)

    def close(self) -> None:
        """Unmap; nobody may ring any more."""
        self._page.close()
