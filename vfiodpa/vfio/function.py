"""VfioFunction: a PciFunction through the kernel.

    with VfioFunction("3b:00.2") as nic:
        ConfigHeader(nic.config).vendor_id

Ref: Linux Documentation/driver-api/vfio.rst.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Self

from .._native import ffi, lib
from ..errors import DeviceError, StateError, Unsupported, VfiodpaError, errno_name
from ..memory import PAGE_SIZE
from ..pci.address import normalise
from ..pci.function import Doorbell, PciFunction, SharedPage
from ..registers import Window
from ..spec import vfio
from ..spec.pci import Command, ConfigHeader, Status
from .backend import IommuKind
from .choice import choose
from .domain import VfioDomain
from .group import check_ready
from .interrupts import Irqs
from .nodes import read_function
from .regions import Region, read_region, without_msix
from .windows import RegionWindow

log = logging.getLogger(__name__)

_ERRORS = (
    Status.MASTER_DATA_PARITY_ERROR
    | Status.SIGNALED_TARGET_ABORT
    | Status.RECEIVED_TARGET_ABORT
    | Status.RECEIVED_MASTER_ABORT
    | Status.SIGNALED_SYSTEM_ERROR
    | Status.DETECTED_PARITY_ERROR
)
_BELLS = {16: "VDP_DOORBELL_MMIO16", 32: "VDP_DOORBELL_MMIO32"}
_WIDTHS = {8: vfio.IoeventfdWidth.BITS_8, 16: vfio.IoeventfdWidth.BITS_16, 32: vfio.IoeventfdWidth.BITS_32}


class VfioFunction(PciFunction):
    """One PCI function, opened. Raises what keeps it from being opened, with the command that mends it."""

    def __init__(
        self,
        address: str,
        domain: VfioDomain | None = None,
        *,
        iommu: IommuKind | str = IommuKind.AUTO,
        unsafe_noiommu: bool = False,
    ) -> None:
        """``domain``: the DMA domain to join, which stays its maker's; without one it has its own."""
        function = read_function(normalise(address))
        check_ready(function, unsafe_noiommu=unsafe_noiommu)
        own = domain is None
        domain = domain or VfioDomain(choose(iommu, function, unsafe_noiommu=unsafe_noiommu))
        try:
            fd = domain.open_device(function)
        except BaseException:
            if own:
                domain.close()
            raise
        self._open(function.address, fd, domain, own=own)

    @classmethod
    def from_fds(cls, name: str, device_fd: int, domain: VfioDomain) -> Self:
        """From a device fd that somebody else opened, taken over here also when this raises.

        ``name`` is its PCI address. ``domain`` stays its maker's: ``VfioDomain(Iommufd(fd=...))`` for a device from
        its character device, ``VfioDomain(Type1(fd=...))`` for one from a group in a container.
        """
        made = cls.__new__(cls)
        try:
            domain.adopt(device_fd, name)
        except BaseException:
            os.close(device_fd)
            raise
        made._open(name, device_fd, domain, own=False)  # noqa: SLF001 # it is our own
        return made

    def _open(self, name: str, fd: int, domain: VfioDomain, *, own: bool) -> None:
        self.name = name
        self._fd = fd
        self._domain = domain
        self._own_domain = own
        self._bars: dict[int, RegionWindow] = {}
        self._ioeventfds: dict[tuple[int, int, int, int], None] = {}
        self._irqs: Irqs | None = None
        self._error_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._release_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._read_device()
        except BaseException:
            self.close()
            raise
        log.info("%s: opened through %s (%s)", name, domain.kind, domain.reason)

    def _read_device(self) -> None:
        try:
            info = vfio.DEVICE_GET_INFO(self._fd, vfio.DeviceInfo(argsz=vfio.DeviceInfo.size))
        except OSError as error:
            raise DeviceError("no answer about it", device=self.name, cause=errno_name(error.errno or 0)) from error
        if not info.flags & vfio.DeviceFlag.PCI:
            raise Unsupported("it is no PCI device", device=self.name)
        self._has_reset = bool(info.flags & vfio.DeviceFlag.RESET)
        region = read_region(self._fd, vfio.PciRegion.CONFIG, self.name)
        self._config = RegionWindow(self._fd, region, "configuration space", self.name)
        self._irqs = Irqs(self._fd, self.name)
        self._irqs.arm(vfio.PciIrq.ERR, self._error_event)
        self._irqs.arm(vfio.PciIrq.REQ, self._release_event)

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"{self._domain.kind}, {self.vectors} vectors"
        return f"<VfioFunction {self.name}: {state}>"

    # Registers

    @property
    def config(self) -> Window:
        return self._config

    def bar(self, index: int) -> RegionWindow:
        self._check_open()
        if index not in self._bars:
            region = self._bar_region(index)
            self._bars[index] = RegionWindow(self._fd, region, f"BAR {index}", self.name)
        return self._bars[index]

    def _bar_region(self, index: int) -> Region:
        if not vfio.PciRegion.BAR0 <= index <= vfio.PciRegion.BAR5:
            raise DeviceError(f"BAR {index} is none", device=self.name, cause="there are BARs 0 to 5")
        region = read_region(self._fd, index, self.name)
        if not region.length:
            raise DeviceError(f"BAR {index} is not implemented", device=self.name)
        return without_msix(region, self._config)

    @property
    def dma(self) -> VfioDomain:
        return self._domain

    # Interrupts and doorbells

    @property
    def vectors(self) -> int:
        return self._irqs.vectors if self._irqs else 0

    def set_irq(self, vector: int, fd: int | None) -> None:
        self._check_open()
        if self._irqs is not None:
            self._irqs.set(vector, fd)

    def msix_off(self) -> None:
        self._check_open()
        if self._irqs is not None:
            self._irqs.disable()
        # With MSI-X gone the kernel unmasks the pin, whatever it was told before: so it is told again, by a change.
        header = ConfigHeader(self._config)
        command = header.command
        header.command = command & ~Command.INTX_DISABLE
        header.command = command | Command.INTX_DISABLE

    def ioeventfd(self, bar: int, offset: int, width: int, value: int, fd: int | None) -> None:
        self._check_open()
        if width not in _WIDTHS:
            raise Unsupported(f"no ioeventfd is {width} bits wide", device=self.name)
        key = (bar, offset, width, value)
        if fd is None and key not in self._ioeventfds:
            raise DeviceError(f"the doorbell at BAR {bar}+{offset:#x} is not bound", device=self.name, cause="ENODEV")
        try:
            self._set_ioeventfd(key, fd)
        except OSError as error:
            raise self._ioeventfd_error(bar, offset, fd, error) from error
        if fd is None:
            del self._ioeventfds[key]
        else:
            self._ioeventfds[key] = None

    def _set_ioeventfd(self, key: tuple[int, int, int, int], fd: int | None) -> None:
        bar, offset, width, value = key
        argument = vfio.DeviceIoeventfd(argsz=vfio.DeviceIoeventfd.size, flags=_WIDTHS[width], data=value)
        argument.offset = read_region(self._fd, bar, self.name).offset + offset
        argument.fd = vfio.NO_FD if fd is None else fd
        vfio.DEVICE_IOEVENTFD(self._fd, argument)

    def _ioeventfd_error(self, bar: int, offset: int, fd: int | None, error: OSError) -> VfiodpaError:
        cause = errno_name(error.errno or 0)
        if error.errno == errno.EEXIST:
            what = f"the doorbell at BAR {bar}+{offset:#x} is already bound"
            return DeviceError(what, device=self.name, cause=f"{cause}: take the other eventfd back first")
        if fd is None:
            return DeviceError(f"cannot free the doorbell at BAR {bar}+{offset:#x}", device=self.name, cause=cause)
        return Unsupported(
            f"the kernel does not take the doorbell ({errno_name(error.errno or 0)})", device=self.name, cause=cause
        )

    def doorbell(self, bar: int, offset: int, width: int, value: int) -> Doorbell:
        window = self.bar(bar)
        if width not in _BELLS:
            raise Unsupported(f"no doorbell is {width} bits wide", device=self.name)
        if offset * 8 % width:
            raise ValueError(f"a {width}-bit doorbell at {offset:#x} is not aligned")
        address = window.address(offset, width // 8)
        if address is None:
            raise Unsupported(f"the doorbell at BAR {bar}+{offset:#x} cannot be mapped", device=self.name)
        kind = getattr(lib, _BELLS[width])
        native = ffi.new("struct vdp_doorbell *", {"kind": kind, "value": value, "addr": ffi.cast("void *", address)})
        return Doorbell(native, self)

    def doorbell_page(self, bar: int, offset: int) -> SharedPage:
        """The device fd and where the page is in it."""
        self._check_open()
        region = self._bar_region(bar)
        if offset % PAGE_SIZE:
            raise Unsupported(f"BAR {bar}+{offset:#x} is no page's beginning", device=self.name)
        if not any(area.offset <= offset and offset + PAGE_SIZE <= area.end for area in region.areas):
            cause = "the kernel does not let the page be mapped, or the MSI-X table is in it"
            raise Unsupported(f"the page at BAR {bar}+{offset:#x} cannot be mapped", device=self.name, cause=cause)
        return SharedPage(self._fd, region.offset + offset, PAGE_SIZE)

    # Life

    def reset(self) -> None:
        """Function level reset; vectors and doorbell bindings are gone too. ``Unsupported`` where there is none."""
        self._check_open()
        if not self._has_reset:
            raise Unsupported(
                "it cannot be reset on its own", device=self.name, cause="no function level or power management reset"
            )
        self._quiesce()
        try:
            vfio.DEVICE_RESET(self._fd)
        except OSError as error:
            cause = errno_name(error.errno or 0)
            kind = Unsupported if error.errno in (errno.ENOTTY, errno.EINVAL) else DeviceError
            raise kind("the function reset failed", device=self.name, cause=cause) from error

    def _quiesce(self) -> None:
        """No notification and no DMA any more; each step is made even when the function is gone."""
        for key in list(self._ioeventfds):
            self._quietly("doorbell", partial(self.ioeventfd, *key, None))
        if self._irqs is not None:
            self._irqs.disable()
            self._quietly("bus master", self._drop_bus_master)

    def _drop_bus_master(self) -> None:
        header = ConfigHeader(self._config)
        header.command = header.command & ~Command.BUS_MASTER

    def _quietly(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except (VfiodpaError, OSError) as error:
            log.debug("%s: %s while closing: %s", self.name, what, error)

    @property
    def error_event(self) -> int:
        return self._error_event

    @property
    def release_event(self) -> int:
        return self._release_event

    def diagnose(self) -> str:
        if self._fd < 0:
            return ""
        try:
            header = ConfigHeader(self._config)
            if header.vendor_id == 0xFFFF:
                return "the function is gone: its configuration space reads as all ones"
            command, status = header.command, header.status & _ERRORS
        except (VfiodpaError, OSError) as error:
            return f"its configuration space cannot be read: {error}"
        found = [f"PCI status {status.name}"] if status else []
        if not command & Command.BUS_MASTER:
            found.append("Bus Master is off")
        if not command & Command.MEMORY:
            found.append("Memory Space is off")
        return ", ".join(found)

    def close(self) -> None:
        """Interrupts off, DMA off, unmapped, closed; harmless when already closed."""
        if self._fd < 0:
            return
        self._quiesce()
        if self._irqs is not None:
            self._irqs.disarm_all()
            self._config.close()
        for window in self._bars.values():
            window.close()
        self._bars.clear()
        fd, self._fd = self._fd, -1
        self._domain.release(fd)
        if self._own_domain:
            self._domain.close()
        os.close(self._error_event)
        os.close(self._release_event)

    def _check_open(self) -> None:
        if self._fd < 0:
            raise StateError("the function is closed", device=self.name)
