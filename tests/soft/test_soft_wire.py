"""What can go wrong when a wire is opened, without the privilege to open one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from vfiodpa.errors import DeviceError, LimitError, NoDevice, VfiodpaError
from vfiodpa.soft import wire_packet, wire_tap


def fails(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.EPERM, LimitError, "ip tuntap add dev vm0 mode tap user"),
        (errno.EBUSY, DeviceError, "EBUSY.*another program has it"),
        (errno.EINVAL, DeviceError, "EINVAL.*vm0 is no tap"),
        (errno.ENOMEM, DeviceError, "ENOMEM"),
    ],
)
def test_a_tap_that_is_refused(monkeypatch: pytest.MonkeyPatch, code: int, kind: type[VfiodpaError], says: str) -> None:
    monkeypatch.setattr(wire_tap, "TUN", "/dev/null")
    monkeypatch.setattr("fcntl.ioctl", fails(code))
    with pytest.raises(kind, match=f"soft9: cannot open tap vm0.*{says}"):
        wire_tap.open_tap("vm0", 1, "soft9")


def test_several_queues_are_named_in_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_tap, "TUN", "/dev/null")
    monkeypatch.setattr("fcntl.ioctl", fails(errno.EPERM))
    with pytest.raises(LimitError, match="multi_queue"):
        wire_tap.open_tap("vm0", 2, "soft9")


def test_a_kernel_without_tun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_tap, "TUN", "/dev/no-such-device")
    with pytest.raises(NoDevice, match="modprobe tun"):
        wire_tap.open_tap("vm0", 1, "soft9")


def test_queues_opened_before_a_failure_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def open_queue(*_: object) -> int:
        if len(opened) == 2:
            raise LimitError("enough")
        opened.append(os.eventfd(0))
        return opened[-1]

    monkeypatch.setattr(wire_tap, "_open_queue", open_queue)
    with pytest.raises(LimitError, match="enough"):
        wire_tap.open_tap("vm0", 3, "soft9")
    for fd in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(NoDevice, match=r"there is no interface no-such-nic.*there are .*lo"):
        wire_packet.open_packet("no-such-nic", 1, "soft9")


def test_packet_sockets_want_a_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket", fails(errno.EPERM))
    with pytest.raises(LimitError, match=r"cannot listen on lo.*EPERM.*CAP_NET_RAW"):
        wire_packet.open_packet("lo", 1, "soft9")
