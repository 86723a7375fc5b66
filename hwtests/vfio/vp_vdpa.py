"""The kernel's vp_vdpa on a NIC, and ours on the same: what each says of it.

    python -m hwtests.vfio.vp_vdpa 0000:00:05.0          # a table, in Markdown

Ref: Linux uapi linux/vhost.h (vhost-vdpa), drivers/vdpa/virtio_pci/vp_vdpa.c; ``vdpa`` is iproute2's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hwtests.vfio.binding import bound
from vfiodpa.drivers.net_config import OfferedConfig
from vfiodpa.frontends.vhost_user.offer import explain, offered_features
from vfiodpa.ioctl import ior
from vfiodpa.layout import Layout, u16, u32, u64
from vfiodpa.spec.features import Feature, names
from vfiodpa.spec.virtio_net import NetConfig
from vfiodpa.vdpa.devices import open_nic

NAME = "compared"
BUS = Path("/sys/bus/vdpa")
SETTLE_S = 10.0
VHOST = 0xAF


class U64(Layout, size=8):
    value = u64


class U32(Layout, size=4):
    value = u32


class U16(Layout, size=2):
    value = u16


class ConfigHead(Layout, size=8):
    """struct vhost_vdpa_config: the bytes follow."""

    off = u32
    len = u32


GET_FEATURES = ior(VHOST, 0x00, U64)
GET_CONFIG = ior(VHOST, 0x73, ConfigHead)
GET_VRING_NUM = ior(VHOST, 0x76, U16)
GET_CONFIG_SIZE = ior(VHOST, 0x79, U32)
GET_VQS_COUNT = ior(VHOST, 0x80, U32)


@dataclass(frozen=True)
class Bytes:
    """Registers that were read all at once (a ``Window``)."""

    raw: bytes

    @property
    def length(self) -> int:
        return len(self.raw)

    def read(self, offset: int, width: int) -> int:
        return int.from_bytes(self.raw[offset : offset + width // 8], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        raise TypeError("what was read cannot be written")


@dataclass(frozen=True)
class View:
    """What one of them says. ``guest``: what a guest is offered; ``config``: fields whose feature is offered."""

    device: Feature
    guest: Feature
    config: dict[str, int | list[int]]
    queues: int
    queue_size: int


def ours(address: str) -> View:
    """Through VFIO."""
    with bound(address, "vfio-pci"), open_nic(address) as nic:
        return View(
            nic.features.device,
            Feature(int(offered_features(nic.features.guest)) & ~int(Feature.VHOST_PROTOCOL_FEATURES)),
            dict(nic.device.read_config()),
            len(nic.queues),
            max(queue.size_max for queue in nic.queues),
        )


def theirs(address: str) -> View:
    """Through vp_vdpa and vhost-vdpa. ``vdpa`` must be there, and the kernel's drivers."""
    with bound(address, "vp-vdpa"), _vdpa_device(address) as node:
        fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        try:
            features = Feature(GET_FEATURES(fd, U64()).value)
            size = GET_CONFIG_SIZE(fd, U32()).value
            raw = GET_CONFIG.call(fd, ConfigHead(off=0, len=size), bytes(size)).tail
            return View(
                features,
                features,
                _fields(raw, features),
                GET_VQS_COUNT(fd, U32()).value,
                GET_VRING_NUM(fd, U16()).value,
            )
        finally:
            os.close(fd)


def missing() -> str:
    """Why there is no comparing here; empty: there is."""
    if not Path("/sys/bus/pci/drivers/vp-vdpa").exists():
        return "the kernel has no vp_vdpa"
    if not (BUS / "drivers/vhost_vdpa").exists():
        return "the kernel has no vhost-vdpa"
    return "" if _vdpa("mgmtdev", "show").returncode == 0 else "no vdpa tool (Debian: iproute2)"


@contextlib.contextmanager
def _vdpa_device(address: str) -> Iterator[Path]:
    """A vDPA device on the function, with vhost-vdpa: its node."""
    _vdpa("dev", "add", "name", NAME, "mgmtdev", f"pci/{address}").check_returncode()
    try:
        device = BUS / "devices" / NAME
        if (device / "driver").exists():
            (device / "driver/unbind").write_text(NAME)
        (device / "driver_override").write_text("vhost_vdpa\n")
        (BUS / "drivers_probe").write_text(NAME)
        yield _node(device)
    finally:
        _vdpa("dev", "del", NAME)


def _node(device: Path) -> Path:
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        for entry in device.glob("vhost-vdpa-*"):
            if (Path("/dev") / entry.name).exists():
                return Path("/dev") / entry.name
        time.sleep(0.05)
    raise TimeoutError(f"no /dev/vhost-vdpa-* for {device.name}")


def _vdpa(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["vdpa", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", "no vdpa")


def _fields(raw: bytes, features: Feature) -> dict[str, int | list[int]]:
    """The fields of a configuration whose feature is offered."""
    return OfferedConfig(Bytes(raw.ljust(NetConfig.size, b"\0")), features).dump()


def rows(mine: View, kernel: View) -> list[tuple[str, str, str, str]]:
    """Subject, vfiodpa, vp_vdpa, and why they differ."""
    why = {offer.bit: offer.why for offer in explain(mine.device, mine.guest)}
    found = [("device offers", _mask(mine.device), _mask(kernel.device), "")]
    differ = [bit for bit in Feature if bit & (mine.guest ^ kernel.guest)]
    found += [
        (f"guest gets {names(bit)[0]}", _yes(bit & mine.guest), _yes(bit & kernel.guest), why[bit]) for bit in differ
    ]
    fields = sorted(mine.config.keys() | kernel.config.keys())
    found += [(name, _field(mine.config.get(name)), _field(kernel.config.get(name)), "") for name in fields]
    control = (
        "ours: those of all pairs; its own: as the device shows them before MQ is negotiated, with the control queue"
    )
    found.append(("queues", str(mine.queues), str(kernel.queues), control if mine.queues != kernel.queues else ""))
    found.append(("queue size", str(mine.queue_size), str(kernel.queue_size), ""))
    return found


def _mask(features: Feature) -> str:
    return f"{int(features):#x}"


def _field(value: int | list[int] | None) -> str:
    return bytes(value).hex(":") if isinstance(value, list) else "" if value is None else str(value)


def _yes(bit: int) -> str:
    return "yes" if bit else "no"


def main() -> None:
    address = sys.argv[1]
    sys.stdout.write("| | vfiodpa | vp_vdpa | why |\n|---|---|---|---|\n")
    for row in rows(ours(address), theirs(address)):
        sys.stdout.write("| " + " | ".join(row) + " |\n")


if __name__ == "__main__":
    main()
