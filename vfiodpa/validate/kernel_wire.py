"""A network interface of the kernel as the wire peer: what it sends and hears, by a packet socket.

Ref: packet(7), netdevice(7); Linux uapi linux/if_packet.h. Wants CAP_NET_RAW, and CAP_NET_ADMIN for ``set_link``.
"""

from __future__ import annotations

import errno
import fcntl
import select
import socket
import struct
import time
from pathlib import Path

from ..errors import DeviceError, LimitError, NoDevice, errno_name
from ..pci.address import is_address, normalise
from ..pci.host import Host
from ..spec.virtio_net import NetHdr
from .safety import check_wire
from .verdict import NotApplicable
from .wire import Heard, Wire

_SOL_PACKET, _ETH_P_ALL = 263, 3
_ADD_MEMBERSHIP, _VNET_HDR, _IGNORE_OUTGOING = 1, 15, 23
_PROMISCUOUS = 1
_RCVBUFFORCE = 33  # SO_RCVBUFFORCE
_GET_FLAGS, _SET_FLAGS, _GET_MTU = 0x8913, 0x8914, 0x8921
_IFREQ = struct.Struct("16sh22x")
_IFREQ_INT = struct.Struct("16si20x")
_UP = 1
_HEADER = 10  # bytes of struct virtio_net_hdr in front of each frame
_LONGEST = 1 << 17
_ROOM = 8 << 20


def interface_of(name: str, sysfs: Path = Path("/sys")) -> str:
    """An interface's name, also from the PCI address of its NIC. Raises ``NoDevice``."""
    if not is_address(name):
        return name
    nic = sysfs / "bus/pci/devices" / normalise(name)
    found = [*nic.glob("net/*"), *nic.glob("virtio*/net/*")]
    if not found:
        raise NoDevice(f"the kernel has no network interface on {name}", remedy="give it back to its own driver")
    return found[0].name


def _make_room(made: socket.socket) -> None:
    """As much as is wanted, or as the machine allows to those without CAP_NET_ADMIN."""
    try:
        made.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _ROOM)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)


def _index_of(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        have = ", ".join(name for _, name in socket.if_nameindex())
        raise NoDevice(f"there is no interface {interface}", cause=f"there are {have}") from error


class KernelWire(Wire):
    """Promiscuous on one interface while it is open; nothing else of the host changes.

    Frames cross this wire finished: the kernel does what their header would leave to do.
    """

    def __init__(self, interface: str, host: Host | None = None) -> None:
        """``interface``: a name, or the PCI address of its NIC. Raises ``StateError`` where the default route leads."""
        self.interface = interface_of(interface)
        check_wire(host or Host(), self.interface)
        self.name = f"{self.interface} (kernel)"
        self._socket: socket.socket | None = None
        try:
            self._socket = self._open(_index_of(self.interface))
        except PermissionError as error:
            raise LimitError(
                f"cannot listen on {self.interface}", cause="CAP_NET_RAW", remedy="run it as root"
            ) from error
        except OSError as error:
            raise NoDevice(f"cannot listen on {self.interface}", cause=errno_name(error.errno or 0)) from error
        if not self._flags() & _UP:
            self.close()
            raise DeviceError(f"{self.interface} is down", remedy=f"ip link set {self.interface} up")

    def _open(self, index: int) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            made.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
            made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            _make_room(made)
            made.bind((self.interface, _ETH_P_ALL))
            made.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8x", index, _PROMISCUOUS, 0))
        except BaseException:
            made.close()
            raise
        return made

    @property
    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise DeviceError(f"{self.name} is closed")
        return self._socket

    def send(self, frame: bytes, header: NetHdr | None = None) -> None:
        """Raises ``NotApplicable`` for a frame that is longer than the interface sends."""
        if header is not None and (int(header.flags) or int(header.gso_type)):
            raise NotApplicable(f"{self.name} sends finished frames only")
        end = time.monotonic() + 1.0
        while True:
            try:
                self._opened.send(bytes(_HEADER) + frame)
            except OSError as error:
                self._explain(error, len(frame), again=time.monotonic() < end)
                time.sleep(0.001)
            else:
                return

    def _explain(self, error: OSError, length: int, *, again: bool) -> None:
        if error.errno in (errno.ENOBUFS, errno.EAGAIN) and again:
            return
        if error.errno == errno.EMSGSIZE:
            raise NotApplicable(f"{self.name} sends no frames of {length} bytes: its MTU is {self.mtu}") from error
        raise DeviceError(f"{self.name} cannot send", cause=errno_name(error.errno or 0)) from error

    def receive(self, timeout: float = 1.0) -> Heard | None:
        if not select.select([self._opened], [], [], timeout)[0]:
            return None
        try:
            raw = self._opened.recv(_LONGEST, socket.MSG_DONTWAIT)
        except OSError:  # nothing after all; or the interface went down, which is said once
            return None
        return Heard(raw[_HEADER:], NetHdr.unpack(raw[:_HEADER] + bytes(NetHdr.size - _HEADER)))

    def set_link(self, up: bool) -> None:
        """As ``ip link set up`` or ``down``: whether the other end notices is the cable's business."""
        flags = self._flags()
        try:
            self._ioctl(_SET_FLAGS, _IFREQ.pack(self._key, flags | _UP if up else flags & ~_UP))
        except PermissionError as error:
            raise LimitError(f"cannot change {self.name}", cause="CAP_NET_ADMIN", remedy="run it as root") from error

    @property
    def mtu(self) -> int:
        """Bytes behind the Ethernet header that it sends."""
        return int(_IFREQ_INT.unpack(self._ioctl(_GET_MTU, _IFREQ_INT.pack(self._key, 0)))[1])

    @property
    def _key(self) -> bytes:
        return self.interface.encode()

    def _flags(self) -> int:
        return int(_IFREQ.unpack(self._ioctl(_GET_FLAGS, _IFREQ.pack(self._key, 0)))[1]) & 0xFFFF

    def _ioctl(self, number: int, argument: bytes) -> bytes:
        return fcntl.ioctl(self._opened, number, argument)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
