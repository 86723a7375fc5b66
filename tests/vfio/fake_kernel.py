"""A scripted kernel behind ``fcntl.ioctl`` and ``/dev``: VFIO groups and character devices, type1, iommufd.

Device nodes open as memfds, told apart by their inode, so that closing, mmap, pread and pwrite are the real ones:
a device's memfd holds its regions where VFIO puts them, at index << 40.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.vfio.fds import link_of, open_fds, write_memory
from vfiodpa.layout import Layout
from vfiodpa.pci.host import Host
from vfiodpa.spec import iommufd, vfio
from vfiodpa.spec.pci import CapId, ConfigHeaderLayout, MsixCap, Status

RANGES = [(0, 0xFEDF_FFFF), (0xFEF0_0000, (1 << 48) - 1)]
MSIX_BAR, VIRTIO_BAR, PLAIN_BAR, HALF_BAR = 1, 4, 2, 0
PAGE = 0x1000

CALLS = {name: call for module in (vfio, iommufd) for name, call in vars(module).items() if hasattr(call, "number")}


def fail(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@dataclass
class Nic:
    """One function of the fake machine, and what the kernel knows about it while it is open."""

    address: str
    group: int
    vectors: int = 4
    free_vectors: int = 1 << 16  # how many interrupts the kernel has left
    noresize: bool = False
    has_reset: bool = True
    has_err: bool = True
    ioeventfd: bool = True
    region_length: dict[int, int] = field(
        default_factory=lambda: {HALF_BAR: 0x4000, MSIX_BAR: 0x3000, PLAIN_BAR: 0x100, VIRTIO_BAR: 0x4000, 7: 0x1000}
    )
    sparse: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: {HALF_BAR: [(0, PAGE), (0x3000, PAGE)]})
    unmappable: set[int] = field(default_factory=lambda: {PLAIN_BAR, 7})
    # state
    bound: int | None = None  # inode of the iommufd
    granted: bool = False  # a device fd answers
    enabled: int = 0  # MSI-X vectors that were switched on together
    fds: dict[tuple[int, int], int] = field(default_factory=dict)  # inode of eventfds by (index, vector)
    bells: dict[tuple[int, int, int], int] = field(default_factory=dict)
    resets: int = 0
    fd: int = -1  # ours, to look into its regions

    def config(self) -> bytes:
        header = ConfigHeaderLayout(vendor_id=0x1AF4, device_id=0x1041, status=Status.CAPABILITIES, capabilities=0x40)
        if not self.vectors:
            return ConfigHeaderLayout(vendor_id=0x1AF4, device_id=0x1041).pack()
        cap = MsixCap(cap_id=CapId.MSIX, control=self.vectors - 1, table=MSIX_BAR | PAGE, pba=MSIX_BAR | 0x2000)
        return header.pack() + cap.pack()

    def peek(self, region: int, offset: int, size: int) -> int:
        return int.from_bytes(os.pread(self.fd, size, (region << 40) + offset), "little")

    def poke(self, region: int, offset: int, size: int, value: int) -> None:
        os.pwrite(self.fd, value.to_bytes(size, "little"), (region << 40) + offset)


@dataclass
class Space:
    """A container or an IOAS."""

    set_up: bool = False
    maps: dict[int, tuple[int, int]] = field(default_factory=dict)  # iova: length, flags
    by_file: list[int] = field(default_factory=list)


class FakeKernel:
    """``log`` has the name of each ioctl. ``refuse`` maps a name to the errno of each later call."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.nics: dict[str, Nic] = {}
        self.files: dict[int, Any] = {}  # what an fd's inode stands for
        self.log: list[str] = []
        self.refuse: dict[str, int] = {}
        self.open_errors: dict[str, int] = {}  # errno of opening a node
        self.map_file = True
        self.dma_avail = 65535
        self.ranges = list(RANGES)
        self.has_type1 = True
        self._open = os.open
        self._handlers = {call.number: (name, getattr(self, "_" + name.lower(), None)) for name, call in CALLS.items()}
        patch.setattr("vfiodpa.ioctl.fcntl", SimpleNamespace(ioctl=self.ioctl))
        patch.setattr("vfiodpa.vfio.nodes.HOST", Host(sysfs=root / "sys", dev=root / "dev"))
        patch.setattr(os, "open", self.open)
        for name in ("vfio/vfio", "iommu"):
            self._node(name)

    # The machine

    def add(self, nic: Nic, driver: str = "vfio-pci") -> Nic:
        self.nics[nic.address] = nic
        path = self.root / "sys/bus/pci/devices" / nic.address
        path.mkdir(parents=True)
        group = self.root / f"sys/kernel/iommu_groups/{nic.group}"
        (group / "devices").mkdir(parents=True, exist_ok=True)
        (group / "devices" / nic.address).symlink_to(path)
        (path / "iommu_group").symlink_to(group)
        self.bind(nic, driver)
        return nic

    def bind(self, nic: Nic, driver: str) -> None:
        path = self.root / "sys/bus/pci/devices" / nic.address
        (path / "driver").unlink(missing_ok=True)
        if driver:
            target = self.root / "sys/bus/pci/drivers" / driver
            target.mkdir(parents=True, exist_ok=True)
            (path / "driver").symlink_to(target)
        if driver == "vfio-pci":
            number = int(nic.address.partition(":")[2].partition(":")[2].partition(".")[0], 16)
            (path / f"vfio-dev/vfio{number}").mkdir(parents=True)
            self._node(f"vfio/devices/vfio{number}")
            self._node(f"vfio/{nic.group}")

    def _node(self, name: str) -> None:
        path = self.root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def open_fds(self) -> list[str]:
        """What is still open of the fake's."""
        ours = {nic.fd for nic in self.nics.values()}
        return sorted(link_of(fd) for fd in open_fds() if fd not in ours and self._stands_for(fd))

    def close(self) -> None:
        """Our own fds."""
        for nic in self.nics.values():
            if nic.fd >= 0:
                os.close(nic.fd)

    # Files

    def open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        dev = self.root / "dev"
        if flags & os.O_CREAT or not str(path).startswith(str(dev)):
            return self._open(path, flags, *args, **kwargs)
        name = str(Path(path).relative_to(dev))
        if name in self.open_errors:
            raise fail(self.open_errors[name])
        if not Path(path).exists():
            raise fail(errno.ENOENT)
        what: Any
        if name == "vfio/vfio":
            what = Space()
        elif name == "iommu":
            what = {}
        elif name.startswith("vfio/devices/"):
            cdev = name.rpartition("/")[2]
            what = next(n for n in self.nics.values() if (self._sys(n) / "vfio-dev" / cdev).exists())
            return self._device(what, granted=False)
        else:
            what = [int(name.removeprefix("vfio/").removeprefix("noiommu-")), None]
        return self._file(name, what)

    def is_container(self, fd: int) -> bool:
        return isinstance(self._stands_for(fd), Space)

    def _stands_for(self, fd: int) -> Any:
        try:
            return self.files.get(os.fstat(fd).st_ino)
        except OSError:
            return None

    def open_device(self, nic: Nic) -> int:
        """A device fd from a group, as another process would hand it in."""
        return self._device(nic, granted=True)

    def _sys(self, nic: Nic) -> Path:
        return self.root / "sys/bus/pci/devices" / nic.address

    def _file(self, name: str, what: Any) -> int:
        fd = os.memfd_create(f"fake-{name}", os.MFD_CLOEXEC)
        self.files[os.fstat(fd).st_ino] = what
        return fd

    def _device(self, nic: Nic, *, granted: bool) -> int:
        fd = self._file(nic.address, nic)
        os.ftruncate(fd, 9 << 40)
        nic.fd = os.dup(fd) if nic.fd < 0 else os.dup2(fd, nic.fd)
        os.pwrite(fd, nic.config(), 7 << 40)
        nic.enabled, nic.bound, nic.granted = 0, None, granted
        nic.fds.clear()
        nic.bells.clear()
        return fd

    # ioctl

    def ioctl(self, fd: int, number: int, argument: Any = 0, mutate: bool = True) -> int:
        name, handler = self._handlers[number]
        self.log.append(name)
        if name in self.refuse:
            raise fail(self.refuse[name])
        if handler is None:
            raise fail(errno.ENOTTY)
        what = self.files.get(os.fstat(fd).st_ino)
        call: Any = CALLS[name]
        if not hasattr(call, "argument"):
            value = bytes(argument).rstrip(b"\0").decode() if isinstance(argument, bytearray) else argument
            return int(handler(what, value) or 0)
        head = call.argument.unpack(argument)
        tail = bytearray(argument[call.argument.size :])
        answer = handler(what, head, tail)
        argument[:] = head.pack() + tail
        return int(answer or 0)

    # Container and group

    def _get_api_version(self, _what: Any, _value: int) -> int:
        return vfio.API_VERSION

    def _check_extension(self, _what: Any, value: int) -> int:
        return int(self.has_type1 or value == vfio.Extension.NOIOMMU)

    def _set_iommu(self, space: Space, _value: int) -> None:
        space.set_up = True

    def _group_get_status(self, group: list[Any], head: vfio.GroupStatus, _tail: bytearray) -> None:
        drivers = {(self._sys(n) / "driver").resolve().name for n in self.nics.values() if n.group == group[0]}
        head.flags = vfio.GroupFlag.VIABLE if drivers <= {"vfio-pci", "driver"} else 0

    def _group_set_container(self, group: list[Any], head: vfio.FdArgument, _tail: bytearray) -> None:
        group[1] = self.files[os.fstat(head.fd).st_ino]

    def _group_unset_container(self, group: list[Any], _value: int) -> None:
        group[1] = None

    def _group_get_device_fd(self, group: list[Any], address: str) -> int:
        if group[1] is None or not group[1].set_up:
            raise fail(errno.EINVAL)
        nic = self.nics[address]
        if nic.group != group[0]:
            raise fail(errno.ENODEV)
        return self._device(nic, granted=True)

    # Device

    def _device_get_info(self, nic: Nic, head: vfio.DeviceInfo, _tail: bytearray) -> None:
        if not nic.granted:
            raise fail(errno.EINVAL)
        head.flags = vfio.DeviceFlag.PCI | (vfio.DeviceFlag.RESET if nic.has_reset else 0)
        head.num_regions, head.num_irqs = 9, 5

    def _device_get_region_info(self, nic: Nic, head: vfio.RegionInfo, tail: bytearray) -> None:
        head.length, head.offset = nic.region_length.get(head.index, 0), head.index << 40
        head.flags = 0 if head.index in nic.unmappable or not head.length else vfio.RegionFlag.MMAP
        areas = nic.sparse.get(head.index)
        if areas is None or not head.flags:
            return
        cap = vfio.SparseMmapCap(cap_id=vfio.RegionCap.SPARSE_MMAP, version=1, nr_areas=len(areas))
        rows = b"".join(vfio.SparseArea(offset=o, length=n).pack() for o, n in areas)
        self._caps(head, tail, [cap.pack() + rows], vfio.RegionFlag.CAPS)

    def _caps(self, head: Any, tail: bytearray, parts: list[bytes], flag: int) -> None:
        """A chain behind the answer, when there is room; else only how much it needs."""
        head.flags |= flag
        chain, at = bytearray(), head.size
        for part in parts:
            more = at + len(chain) + len(part) if part is not parts[-1] else 0
            chain += part[:4] + more.to_bytes(4, "little") + part[8:]
        if head.argsz >= at + len(chain):
            head.cap_offset = at
            tail[: len(chain)] = chain
        head.argsz = at + len(chain)

    def _device_get_irq_info(self, nic: Nic, head: vfio.IrqInfo, _tail: bytearray) -> None:
        if head.index == vfio.PciIrq.ERR and not nic.has_err:
            raise fail(errno.EINVAL)
        head.count = nic.vectors if head.index == vfio.PciIrq.MSIX else 1
        head.flags = vfio.IrqFlag.EVENTFD
        if head.index == vfio.PciIrq.MSIX and nic.noresize:
            head.flags |= vfio.IrqFlag.NORESIZE

    def _device_set_irqs(self, nic: Nic, head: vfio.IrqSet, tail: bytearray) -> int:
        assert head.argsz == head.size + len(tail)
        if head.flags & vfio.IrqAction.DATA_NONE:
            nic.fds = {key: inode for key, inode in nic.fds.items() if key[0] != head.index}
            nic.enabled = 0 if head.index == vfio.PciIrq.MSIX else nic.enabled
            return 0
        if head.index == vfio.PciIrq.MSIX:
            last = head.start + head.count
            if not nic.enabled:
                if last > nic.free_vectors:
                    return nic.free_vectors
                nic.enabled = last
            elif nic.noresize and last > nic.enabled:
                raise fail(errno.EINVAL)
            elif last > nic.free_vectors:
                raise fail(errno.ENOSPC)
        for i in range(head.count):
            self._set_irq(nic, (head.index, head.start + i), int.from_bytes(tail[4 * i : 4 * i + 4], "little"))
        return 0

    def _set_irq(self, nic: Nic, key: tuple[int, int], fd: int) -> None:
        nic.fds.pop(key, None)
        if fd != vfio.NO_FD:
            if link_of(fd) != "anon_inode:[eventfd]":
                raise fail(errno.EINVAL)
            nic.fds[key] = fd

    def _device_reset(self, nic: Nic, _value: int) -> None:
        nic.resets += 1

    def _device_ioeventfd(self, nic: Nic, head: vfio.DeviceIoeventfd, _tail: bytearray) -> None:
        if not nic.ioeventfd:
            raise fail(errno.ENOTTY)
        key = (head.offset, head.data, head.flags)
        if head.fd == vfio.NO_FD:
            if key not in nic.bells:
                raise fail(errno.ENODEV)
            del nic.bells[key]
        elif key in nic.bells:
            raise fail(errno.EEXIST)
        else:
            nic.bells[key] = head.fd

    def _device_bind_iommufd(self, nic: Nic, head: vfio.BindIommufd, _tail: bytearray) -> None:
        drivers = {(self._sys(n) / "driver").resolve().name for n in self.nics.values() if n.group == nic.group}
        if drivers - {"vfio-pci", "driver"}:
            raise fail(errno.EPERM)
        nic.bound, nic.granted = os.fstat(head.iommufd).st_ino, True

    def _device_attach_iommufd_pt(self, nic: Nic, head: vfio.AttachIommufdPt, _tail: bytearray) -> None:
        if nic.bound is None or head.pt_id not in self.files[nic.bound]:
            raise fail(errno.ENOENT)

    def _device_detach_iommufd_pt(self, nic: Nic, _head: Layout, _tail: bytearray) -> None:
        pass

    # type1

    def _iommu_get_info(self, space: Space, head: vfio.Type1Info, tail: bytearray) -> None:
        rows = b"".join(vfio.Type1Range(start=first, end=last).pack() for first, last in self.ranges)
        window = vfio.IovaRangeCap(cap_id=vfio.Type1Cap.IOVA_RANGE, version=1, nr_iovas=len(self.ranges)).pack() + rows
        avail = vfio.DmaAvailCap(cap_id=vfio.Type1Cap.DMA_AVAIL, version=1, avail=self.dma_avail - len(space.maps))
        self._caps(head, tail, [window, avail.pack()], vfio.Type1Flag.CAPS)

    def _iommu_map_dma(self, space: Space, head: vfio.DmaMap, _tail: bytearray) -> None:
        assert head.vaddr
        space.maps[head.iova] = (head.length, head.flags)

    def _iommu_unmap_dma(self, space: Space, head: vfio.DmaUnmap, _tail: bytearray) -> None:
        head.length = space.maps.pop(head.iova, (0, 0))[0]

    # iommufd

    def _ioas_alloc(self, spaces: dict[int, Space], head: iommufd.IoasAlloc, _tail: bytearray) -> None:
        head.out_ioas_id = len(spaces) + 1
        spaces[head.out_ioas_id] = Space()

    def _destroy(self, spaces: dict[int, Space], head: iommufd.Destroy, _tail: bytearray) -> None:
        del spaces[head.object_id]

    def _ioas_iova_ranges(self, _spaces: dict[int, Space], head: iommufd.IoasIovaRanges, _tail: bytearray) -> None:
        room, head.num_iovas = head.num_iovas, len(self.ranges)
        if room < len(self.ranges):
            raise fail(errno.EMSGSIZE)
        write_memory(head.allowed_iovas, np.array(self.ranges, np.uint64).tobytes())

    def _ioas_map(self, spaces: dict[int, Space], head: iommufd.IoasMap, _tail: bytearray) -> None:
        assert head.user_va and head.flags & iommufd.MapFlag.FIXED_IOVA
        spaces[head.ioas_id].maps[head.iova] = (head.length, head.flags)

    def _ioas_map_file(self, spaces: dict[int, Space], head: iommufd.IoasMapFile, _tail: bytearray) -> None:
        if not self.map_file:
            raise fail(errno.ENOTTY)
        if head.ioas_id not in spaces:
            raise fail(errno.ENOENT)
        if "memfd:" not in link_of(head.fd):
            raise fail(errno.EINVAL)
        spaces[head.ioas_id].maps[head.iova] = (head.length, head.flags)
        spaces[head.ioas_id].by_file.append(head.start)

    def _ioas_unmap(self, spaces: dict[int, Space], head: iommufd.IoasUnmap, _tail: bytearray) -> None:
        if head.iova not in spaces[head.ioas_id].maps:
            raise fail(errno.ENOENT)
        head.length = spaces[head.ioas_id].maps.pop(head.iova)[0]

    @property
    def spaces(self) -> list[Space]:
        """Every address space that was made."""
        direct = [what for what in self.files.values() if isinstance(what, Space)]
        return direct + [space for what in self.files.values() if isinstance(what, dict) for space in what.values()]
