"""iommufd: the function by its own character device, its address space by /dev/iommu.

Ref: Linux Documentation/userspace-api/iommufd.rst, Documentation/driver-api/vfio.rst "VFIO Device cdev".
"""

from __future__ import annotations

import errno
import logging
import os
from typing import Any

import numpy as np

from .._native import ffi
from ..errors import DeviceError, LimitError, NoDevice, Unsupported, VfiodpaError, errno_name
from ..memory import Mapping
from ..pci.device import PciDevice
from ..pci.function import IovaRange, Perm
from ..spec import iommufd as spec
from ..spec import vfio
from .backend import IommuBackend
from .group import check_members
from .nodes import in_use, node, open_node, others_with, read_function

log = logging.getLogger(__name__)

NODE = "iommu"
_NO_NODE = "a kernel with CONFIG_IOMMUFD (modprobe iommufd), or --iommu type1"
_NO_CDEV = "a kernel with CONFIG_VFIO_DEVICE_CDEV (6.6 and later), or --iommu type1"
_ROOM = 64  # address ranges: a handful in practice; the kernel says when there are more


class Iommufd(IommuBackend):
    """One IOAS. ``fd``: an opened /dev/iommu of somebody else's, taken over."""

    kind = "iommufd"

    def __init__(self, reason: str = "asked for", *, fd: int | None = None) -> None:
        self.reason = reason
        self._devices: set[int] = set()
        self._fd = open_node(NODE, "", missing=_NO_NODE) if fd is None else fd
        try:
            self._ioas = spec.IOAS_ALLOC(self._fd, spec.IoasAlloc(argsz=spec.IoasAlloc.size)).out_ioas_id
        except OSError as error:
            os.close(self._fd)
            raise Unsupported("no I/O address space from iommufd", cause=errno_name(error.errno or 0)) from error
        self.maps_files = self._knows_map_file()

    def __repr__(self) -> str:
        way = "files" if self.maps_files else "addresses"
        return f"<Iommufd IOAS {self._ioas}, {len(self._devices)} devices, maps {way}>"

    def _knows_map_file(self) -> bool:
        """Ask with an IOAS that does not exist: a kernel that knows the call says ENOENT, not ENOTTY."""
        try:
            spec.IOAS_MAP_FILE(self._fd, spec.IoasMapFile(argsz=spec.IoasMapFile.size))
        except OSError as error:
            return error.errno != errno.ENOTTY
        return True

    # Devices

    def open_device(self, function: PciDevice) -> int:
        if error := cdev_obstacle(function):
            raise error
        fd = open_node(f"vfio/devices/{function.vfio_device}", function.address, missing=_NO_CDEV)
        try:
            self._bind(fd, function)
            self._attach(fd, function.address)
        except BaseException:
            os.close(fd)
            raise
        self._devices.add(fd)
        return fd

    def adopt(self, device_fd: int, name: str) -> None:
        try:
            vfio.DEVICE_GET_INFO(device_fd, vfio.DeviceInfo(argsz=vfio.DeviceInfo.size))
        except OSError:  # EINVAL until it is bound
            self._bind(device_fd, read_function(name))
        self._attach(device_fd, name)
        self._devices.add(device_fd)

    def _bind(self, fd: int, function: PciDevice) -> None:
        bind = vfio.BindIommufd(argsz=vfio.BindIommufd.size, iommufd=self._fd)
        try:
            vfio.DEVICE_BIND_IOMMUFD(fd, bind)
        except OSError as error:
            # EINVAL: another process bound it; EBUSY: its group is open; EPERM: its group belongs to another process
            # or to a host driver, or interrupts are not remapped
            path, cause = node(f"vfio/devices/{function.vfio_device}"), errno_name(error.errno or 0)
            if error.errno in (errno.EBUSY, errno.EINVAL, errno.EPERM):
                check_members(function)
            if error.errno in (errno.EBUSY, errno.EINVAL) or (error.errno == errno.EPERM and others_with(path)):
                raise in_use(path, function.address, error) from error
            remedy = ""
            if error.errno == errno.EPERM:
                cause += ": another process has its group, or interrupts are not remapped"
                remedy = "vfiodpa doctor"
            raise NoDevice("cannot bind it to iommufd", device=function.address, cause=cause, remedy=remedy) from error

    def _attach(self, fd: int, device: str) -> None:
        attach = vfio.AttachIommufdPt(argsz=vfio.AttachIommufdPt.size, pt_id=self._ioas)
        try:
            vfio.DEVICE_ATTACH_IOMMUFD_PT(fd, attach)
        except OSError as error:
            cause = errno_name(error.errno or 0)
            if error.errno == errno.EADDRINUSE:
                cause += "; what is mapped already lies where this device cannot reach"
            raise DeviceError("cannot attach it to the I/O address space", device=device, cause=cause) from error

    def release(self, device_fd: int) -> None:
        self._devices.discard(device_fd)
        try:
            detach = vfio.DetachIommufdPt(argsz=vfio.DetachIommufdPt.size)
            vfio.DEVICE_DETACH_IOMMUFD_PT(device_fd, detach)
        except OSError as error:
            log.debug("detach: %s", errno_name(error.errno or 0))  # closing detaches as well
        os.close(device_fd)

    # Addresses

    def ranges(self) -> list[IovaRange]:
        if not self._devices:
            return []
        room = _ROOM
        while True:
            rows: np.ndarray[Any, np.dtype[np.void]] = np.zeros(room, spec.IovaRange.dtype)
            ask = spec.IoasIovaRanges(argsz=spec.IoasIovaRanges.size, ioas_id=self._ioas, num_iovas=room)
            ask.allowed_iovas = int(ffi.cast("uintptr_t", ffi.from_buffer(rows, require_writable=True)))
            try:
                found = spec.IOAS_IOVA_RANGES(self._fd, ask).num_iovas
            except OSError as error:
                if error.errno != errno.EMSGSIZE or room >= 1 << 16:
                    raise
                room *= 8
                continue
            return [IovaRange(int(row["start"]), int(row["last"])) for row in rows[:found]]

    def room(self) -> int | None:
        return None

    def map(self, iova: int, memory: Mapping, offset: int, length: int, perm: Perm) -> None:
        flags = spec.MapFlag.FIXED_IOVA
        flags |= spec.MapFlag.READABLE if perm & Perm.READ else spec.MapFlag(0)
        flags |= spec.MapFlag.WRITEABLE if perm & Perm.WRITE else spec.MapFlag(0)
        if self.maps_files and self._map_file(flags, iova, memory, offset, length):
            return
        by_address = spec.IoasMap(argsz=spec.IoasMap.size, flags=flags, ioas_id=self._ioas, iova=iova, length=length)
        by_address.user_va = memory.address + offset
        spec.IOAS_MAP(self._fd, by_address)

    def _map_file(self, flags: spec.MapFlag, iova: int, memory: Mapping, offset: int, length: int) -> bool:
        """By file and offset; ``False`` for a file that the kernel takes by address only (no memfd)."""
        by_file = spec.IoasMapFile(argsz=spec.IoasMapFile.size, flags=flags, ioas_id=self._ioas, iova=iova)
        by_file.fd, by_file.start, by_file.length = memory.fd, memory.fd_offset + offset, length
        try:
            spec.IOAS_MAP_FILE(self._fd, by_file)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
                return False
            raise
        return True

    def unmap(self, iova: int, length: int) -> int:
        argument = spec.IoasUnmap(argsz=spec.IoasUnmap.size, ioas_id=self._ioas, iova=iova, length=length)
        return spec.IOAS_UNMAP(self._fd, argument).length

    def close(self) -> None:
        try:
            spec.DESTROY(self._fd, spec.Destroy(argsz=spec.Destroy.size, object_id=self._ioas))
        except OSError as error:
            log.debug("IOAS %d: %s", self._ioas, errno_name(error.errno or 0))  # closing destroys as well
        os.close(self._fd)


def cdev_obstacle(function: PciDevice) -> VfiodpaError | None:
    """Why the function cannot be had by its character device; ``None`` when it can."""
    if not function.vfio_device:
        return Unsupported("it has no VFIO character device", device=function.address, remedy=_NO_CDEV)
    path = node(f"vfio/devices/{function.vfio_device}")
    if not path.exists():
        return Unsupported(f"there is no {path}", device=function.address, remedy="udevadm settle, or --iommu type1")
    if not os.access(path, os.R_OK | os.W_OK):
        remedy = f"sudo chown $USER {path} (or a udev rule that gives it to your group)"
        return LimitError(f"no permission to open {path}", device=function.address, remedy=remedy)
    return None
