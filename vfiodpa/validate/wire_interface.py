"""A wire peer that is a network interface of the kernel: the other port of a card, or the other end of a cable.

Ref: packet(7).
"""

from __future__ import annotations

import select
import socket
import struct
import time

from ..errors import DeviceError, LimitError, NoDevice, errno_name
from ..pci.host import Host
from ..spec.virtio_net import NetHdr
from .safety import check_wire
from .wire import Heard, Wire

_ETH_P_ALL = 3
_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS, _IGNORE_OUTGOING = 263, 1, 1, 23
_BUFFER = 8 << 20
_LONGEST = 65_550  # the longest frame with a VLAN tag


class InterfaceWire(Wire):
    """Every frame of the interface, promiscuous; what the kernel itself sends there is left out."""

    def __init__(self, interface: str, host: Host | None = None) -> None:
        """Raises ``NoDevice``, ``LimitError`` without CAP_NET_RAW, ``StateError`` where the default route leads."""
        check_wire(host or Host(), interface)
        self.name = interface
        try:
            index = socket.if_nametoindex(interface)
        except OSError as error:
            have = ", ".join(name for _, name in socket.if_nameindex())
            raise NoDevice(f"there is no interface {interface}", cause=f"there are {have}") from error
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except PermissionError as error:
            cause = errno_name(error.errno or 0)
            raise LimitError("no packet socket", device=interface, cause=cause, remedy="run it as root") from error
        try:
            self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((interface, _ETH_P_ALL))
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8x", index, _PROMISCUOUS, 0))
        except OSError as error:
            self._socket.close()
            raise DeviceError("no packet socket", device=interface, cause=errno_name(error.errno or 0)) from error

    def send(self, frame: bytes, header: NetHdr | None = None) -> None:
        if header is not None and header.flags:
            raise NotImplementedError(f"{self.name} carries no offloads")
        try:
            self._socket.send(frame)
        except OSError as error:
            raise DeviceError(
                "the wire peer does not send", device=self.name, cause=errno_name(error.errno or 0)
            ) from error

    def receive(self, timeout: float = 1.0) -> Heard | None:
        end = time.monotonic() + timeout
        while True:
            try:
                return Heard(self._socket.recv(_LONGEST))
            except BlockingIOError:
                left = end - time.monotonic()
                if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                    return None
            except OSError:  # the interface went down: nothing is heard
                if time.monotonic() >= end:
                    return None
                time.sleep(0.001)

    def close(self) -> None:
        self._socket.close()
