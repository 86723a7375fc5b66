"""Opens a tap interface for the software NIC, one queue for each pair.

Ref: Linux, Documentation/networking/tuntap.rst and uapi linux/if_tun.h.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Sequence

from ..errors import DeviceError, LimitError, NoDevice, VfiodpaError, errno_name

TUN = "/dev/net/tun"
NET_HDR = 12  # bytes before each frame: struct virtio_net_hdr with num_buffers

_SET_IFF, _SET_OFFLOAD, _SET_VNET_HDR_SZ, _SET_VNET_LE = 0x4004_54CA, 0x4004_54D0, 0x4004_54D8, 0x4004_54DC
_TAP, _MULTI_QUEUE, _NO_PI, _VNET_HDR = 0x0002, 0x0100, 0x1000, 0x4000
_SET_QUEUE, _ATTACH, _DETACH = 0x4004_54D9, 0x0200, 0x0400
_IFREQ = struct.Struct("16sH22x")


def open_tap(name: str, pairs: int, device: str) -> list[int]:
    """A non-blocking fd for each pair, owned by the caller. As root the interface is made if there is none."""
    fds: list[int] = []
    try:
        for _ in range(pairs):
            fds.append(_open_queue(name, pairs > 1, device))  # noqa: PERF401 - those before a failure are closed
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return fds


def attach_queues(fds: Sequence[int], active: int) -> None:
    """The kernel gives frames to the first ``active`` queues; a queue that is where it shall be stays so."""
    for pair, fd in enumerate(fds):
        flags = _ATTACH if pair < active else _DETACH
        with contextlib.suppress(OSError):  # EINVAL: it is; else the interface is gone, which shows by itself
            fcntl.ioctl(fd, _SET_QUEUE, _IFREQ.pack(b"", flags))


def _open_queue(name: str, multi: bool, device: str) -> int:
    try:
        fd = os.open(TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        cause = errno_name(error.errno or 0)
        kind = NoDevice if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO) else LimitError
        raise kind(f"cannot open {TUN}", device=device, cause=cause, remedy="modprobe tun") from error
    try:
        _attach(fd, name, multi)
        fcntl.ioctl(fd, _SET_VNET_HDR_SZ, struct.pack("i", NET_HDR))
        fcntl.ioctl(fd, _SET_VNET_LE, struct.pack("i", 1))
        fcntl.ioctl(fd, _SET_OFFLOAD, 0)
    except OSError as error:
        os.close(fd)
        raise _explain(name, multi, device, error) from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _attach(fd: int, name: str, multi: bool) -> None:
    flags = _TAP | _NO_PI | _VNET_HDR
    try:
        fcntl.ioctl(fd, _SET_IFF, _IFREQ.pack(name.encode(), flags | (_MULTI_QUEUE if multi else 0)))
    except OSError as error:
        if multi or error.errno != errno.EINVAL:
            raise
        # An interface made for several queues takes one that says so, too.
        fcntl.ioctl(fd, _SET_IFF, _IFREQ.pack(name.encode(), flags | _MULTI_QUEUE))


def _explain(name: str, multi: bool, device: str, error: OSError) -> VfiodpaError:
    what, cause = f"cannot open tap {name}", errno_name(error.errno or 0)
    add = f"ip tuntap add dev {name} mode tap user $USER{' multi_queue' if multi else ''}"
    match error.errno:
        case errno.EPERM | errno.EACCES:
            return LimitError(what, device=device, cause=f"{cause}: it is not yours, or is not there", remedy=add)
        case errno.EBUSY:
            return DeviceError(what, device=device, cause=f"{cause}: another program has it", remedy="another name")
        case errno.EINVAL:
            many = "several queues" if multi else "one queue"
            cause = f"{cause}: {name} is no tap, or not one for {many}"
            return DeviceError(what, device=device, cause=cause, remedy=f"another name, made by {add}")
        case _:
            return DeviceError(what, device=device, cause=cause)
