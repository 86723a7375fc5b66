"""type1: groups in a container. What kernels without iommufd and device cdevs have.

Ref: Linux Documentation/driver-api/vfio.rst "VFIO Usage Example".
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass, field

from ..errors import DeviceError, NoDevice, Unsupported, errno_name
from ..memory import PAGE_SIZE, Mapping
from ..pci.device import PciDevice
from ..pci.function import IovaRange, Perm
from ..spec import vfio
from .backend import IommuBackend
from .chain import ask, caps, table
from .group import check_members
from .nodes import in_use, node, open_node

log = logging.getLogger(__name__)

NODE = "vfio/vfio"
# The kernel maps the last page of 64 bits, but does not find it again to unmap it: the end of it is 0.
LAST = (1 << 64) - PAGE_SIZE - 1


@dataclass(slots=True)
class _Group:
    """An opened group: ``/dev/vfio/N`` can be opened once, so its devices share the fd."""

    fd: int
    devices: set[int] = field(default_factory=set)


class Type1(IommuBackend):
    """One container. ``fd``: a container of somebody else's whose IOMMU is set, taken over."""

    kind = "type1"
    extension = vfio.Extension.TYPE1V2
    node_prefix = ""

    def __init__(self, reason: str = "asked for", *, fd: int | None = None) -> None:
        self.reason = reason
        self._groups: dict[int, _Group] = {}
        self._adopted: set[int] = set()
        self._iommu_set = fd is not None
        self._fd = open_node(NODE, "", missing="modprobe vfio-pci") if fd is None else fd
        try:
            self._check_kernel()
        except BaseException:
            if fd is None:
                os.close(self._fd)
            raise

    def __repr__(self) -> str:
        devices = sum(len(group.devices) for group in self._groups.values()) + len(self._adopted)
        return f"<{type(self).__name__} container, groups {sorted(self._groups)}, {devices} devices>"

    def _check_kernel(self) -> None:
        if vfio.GET_API_VERSION(self._fd) != vfio.API_VERSION:
            raise Unsupported("this kernel speaks another version of VFIO")
        if not vfio.CHECK_EXTENSION(self._fd, self.extension):
            name = self.extension.name
            raise Unsupported(f"the kernel's VFIO has no {name} IOMMU", remedy="modprobe vfio_iommu_type1")

    # Devices

    def open_device(self, function: PciDevice) -> int:
        number = function.iommu_group
        if number is None:
            raise Unsupported("it is in no IOMMU group", device=function.address)
        known = self._groups.get(number)
        group = known or self._open_group(number, function)
        try:
            fd = vfio.GROUP_GET_DEVICE_FD(group.fd, function.address)
        except OSError as error:
            if known is None:
                self._close_group(number)
            cause = errno_name(error.errno or 0)
            raise NoDevice("the kernel does not hand it out", device=function.address, cause=cause) from error
        os.set_inheritable(fd, False)
        group.devices.add(fd)
        return fd

    def _open_group(self, number: int, function: PciDevice) -> _Group:
        fd = open_node(f"vfio/{self.node_prefix}{number}", function.address, missing=f"vfiodpa bind {function.address}")
        try:
            status = vfio.GROUP_GET_STATUS(fd, vfio.GroupStatus(argsz=vfio.GroupStatus.size))
            if not status.flags & vfio.GroupFlag.VIABLE:
                check_members(function)
                raise NoDevice(f"its IOMMU group {number} is not viable", device=function.address)
            self._join(fd, number, function)
        except BaseException:
            os.close(fd)
            raise
        self._groups[number] = _Group(fd)
        return self._groups[number]

    def _join(self, group_fd: int, number: int, function: PciDevice) -> None:
        try:
            vfio.GROUP_SET_CONTAINER(group_fd, vfio.FdArgument(fd=self._fd))
            if not self._iommu_set:
                vfio.SET_IOMMU(self._fd, self.extension)
                self._iommu_set = True
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise in_use(node(f"vfio/{self.node_prefix}{number}"), function.address, error) from error
            cause = errno_name(error.errno or 0)
            if self._groups:
                cause += "; what is mapped already may lie where this device cannot reach"
            raise DeviceError(
                f"group {number} cannot join the container", device=function.address, cause=cause
            ) from error

    def adopt(self, device_fd: int, name: str) -> None:
        if not self._iommu_set:
            raise Unsupported("a device fd from a group needs its container's fd too", device=name)
        self._adopted.add(device_fd)

    def release(self, device_fd: int) -> None:
        os.close(device_fd)
        self._adopted.discard(device_fd)
        for number, group in list(self._groups.items()):
            group.devices.discard(device_fd)
            # The last group stays until the end: without any, the kernel forgets what is mapped.
            if not group.devices and len(self._groups) > 1:
                self._close_group(number)

    def _close_group(self, number: int) -> None:
        fd = self._groups.pop(number).fd
        self._iommu_set = bool(self._groups or self._adopted)
        try:
            vfio.GROUP_UNSET_CONTAINER(fd)
        except OSError as error:
            log.debug("group %d: %s", number, errno_name(error.errno or 0))  # closing takes it out as well
        os.close(fd)

    # Addresses

    def ranges(self) -> list[IovaRange]:
        data = self._caps().get(vfio.Type1Cap.IOVA_RANGE)
        if data is None:  # kernels before 5.4 do not say
            return [IovaRange(0, LAST)] if self._iommu_set else []
        rows = table(data, vfio.IovaRangeCap, vfio.Type1Range, vfio.IovaRangeCap.unpack(data).nr_iovas)
        return [IovaRange(row.start, min(row.end, LAST)) for row in rows if row.start <= LAST]

    def room(self) -> int | None:
        data = self._caps().get(vfio.Type1Cap.DMA_AVAIL)
        return None if data is None else vfio.DmaAvailCap.unpack(data).avail

    def _caps(self) -> dict[int, bytes]:
        if not self._iommu_set:
            return {}
        info, answer = ask(vfio.IOMMU_GET_INFO, self._fd, vfio.Type1Info(argsz=vfio.Type1Info.size))
        return dict(caps(answer, info.cap_offset)) if info.flags & vfio.Type1Flag.CAPS else {}

    def map(self, iova: int, memory: Mapping, offset: int, length: int, perm: Perm) -> None:
        argument = vfio.DmaMap(argsz=vfio.DmaMap.size, iova=iova, length=length)
        argument.vaddr = memory.address + offset
        argument.flags |= vfio.DmaFlag.READ if perm & Perm.READ else 0
        argument.flags |= vfio.DmaFlag.WRITE if perm & Perm.WRITE else 0
        vfio.IOMMU_MAP_DMA(self._fd, argument)

    def unmap(self, iova: int, length: int) -> int:
        argument = vfio.DmaUnmap(argsz=vfio.DmaUnmap.size, iova=iova, length=length)
        return vfio.IOMMU_UNMAP_DMA(self._fd, argument).length

    def close(self) -> None:
        for number in list(self._groups):
            self._close_group(number)
        os.close(self._fd)


class NoIommu(Type1):
    """No IOMMU at all: registers and interrupts, but nothing can be mapped, and nothing stops the device's DMA."""

    kind = "noiommu"
    extension = vfio.Extension.NOIOMMU
    node_prefix = "noiommu-"
    isolates = False

    def ranges(self) -> list[IovaRange]:
        return []

    def room(self) -> int | None:
        return None
