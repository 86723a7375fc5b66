"""The other end of a wire: a kernel network interface whose every frame is sent back as it came."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from pathlib import Path
from typing import Self

ETH_P_ALL = 3
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1
OUTGOING = 4  # a frame that we sent ourselves
SLICE_S = 0.1


def interface_of(peer: str) -> str:
    """An interface's name, also from the PCI address of its NIC."""
    if ":" not in peer:
        return peer
    found = [
        *Path("/sys/bus/pci/devices", peer).glob("net/*"),
        *Path("/sys/bus/pci/devices", peer).glob("virtio*/net/*"),
    ]
    if not found:
        raise FileNotFoundError(f"the kernel has no network interface on {peer}")
    return found[0].name


class EchoPeer:
    """Echoes from a thread until it is left. ``frames`` counts."""

    def __init__(self, interface: str) -> None:
        self.frames = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((interface, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        request = struct.pack("iHH8x", socket.if_nametoindex(interface), PACKET_MR_PROMISC, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echo peer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            if not select.select([self._socket], [], [], SLICE_S)[0]:
                continue
            frame, sender = self._socket.recvfrom(65535)
            if sender[2] != OUTGOING:
                with contextlib.suppress(BlockingIOError):
                    self._socket.send(frame)
                    self.frames += 1
