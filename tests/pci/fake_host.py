"""A machine in a directory: sysfs, /proc and /dev as files, and the kernel's answers to writes in sysfs."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

from vfiodpa.pci.device import VFIO_PCI
from vfiodpa.pci.host import Host, _translated

NIC, OTHER, DISK = "0000:00:05.0", "0000:00:06.0", "0000:00:07.0"


@dataclass(frozen=True)
class FakeHost(Host):
    """Writes do what the kernel's would. ``refused``: errno for a (file name, value) that is written."""

    natural: dict[str, str] = field(default_factory=dict)  # driver that a function's ids choose
    refused: dict[tuple[str, str], int] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)  # "driver_override=vfio-pci", ...

    @classmethod
    def at(cls, top: Path) -> FakeHost:
        host = cls(top / "sys", top / "proc", top / "dev", top / "rules.d", top / "modules")
        for directory in (host.pci / "devices", host.proc / "net", host.dev / "vfio", host.sysfs / "class/net"):
            directory.mkdir(parents=True)
        for driver in (VFIO_PCI, "virtio-pci"):
            host.driver(driver).mkdir(parents=True)
        (host.pci / "drivers_probe").touch()
        return host

    # Building it

    def add(
        self,
        address: str = NIC,
        *,
        ids: tuple[int, int] = (0x1AF4, 0x1041),
        class_code: int = 0x020000,
        driver: str = "virtio-pci",
        group: int | None = 3,
        interface: str = "",
    ) -> Path:
        path = self.sysfs / "devices/pci0000:00" / address
        path.mkdir(parents=True)
        (self.pci / "devices" / address).symlink_to(path)
        values = {"vendor": ids[0], "device": ids[1], "class": class_code, "revision": 1}
        values |= {"subsystem_vendor": 0x1AF4, "subsystem_device": 0x1100}
        for name, value in values.items():
            (path / name).write_text(f"{value:#06x}\n")
        (path / "driver_override").write_text("(null)\n")
        (path / "numa_node").write_text("-1\n")
        if group is not None:
            members = self.sysfs / f"kernel/iommu_groups/{group}/devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(path)
            (path / "iommu_group").symlink_to(members.parent)
        self.natural[address] = driver
        if driver:
            self.driver(driver).mkdir(parents=True, exist_ok=True)
            self._attach(address, driver)
        if interface:
            (path / "virtio0/net" / interface).mkdir(parents=True)
            self.interface(interface)
        return path

    def interface(self, name: str, *lower: str) -> None:
        for one in ("", *(f"lower_{under}" for under in lower)):
            (self.sysfs / "class/net" / name / one).mkdir(parents=True, exist_ok=True)

    def default_route(self, name: str) -> None:
        head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"
        route = f"{name}\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0"
        (self.proc / "net/route").write_text(f"{head}\n{route}\n")

    def block(self, function: str, name: str, number: str, *holders: str) -> None:
        parent = self.device(function).resolve() if function else self.sysfs / "devices/virtual"
        path = parent / "virtio1/block" / name
        (path / "holders").mkdir(parents=True)
        (path / "dev").write_text(f"{number}\n")
        for holder in holders:
            (path / "holders" / holder).mkdir()
        link = self.sysfs / "class/block" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)

    def mount(self, number: str, point: str, kind: str, source: str) -> None:
        (self.proc / "self").mkdir(exist_ok=True)
        with (self.proc / "self/mountinfo").open("a") as file:
            file.write(f"30 1 {number} / {point} rw,relatime shared:1 - {kind} {source} rw\n")

    def process(self, pid: int, name: str, opened: Path) -> None:
        fds = self.proc / str(pid) / "fd"
        fds.mkdir(parents=True)
        (fds.parent / "comm").write_text(f"{name}\n")
        (fds / "7").symlink_to(opened)

    # The kernel's half

    def write(self, path: Path, value: str) -> None:
        self.written.append(f"{path.name}={value}")
        number = self.refused.get((path.name, value), 0)
        if number or not path.parent.is_dir():
            raise _translated(OSError(number or errno.ENOENT, ""), path, value)
        if path.name == "driver_override":
            path.write_text(f"{value or '(null)'}\n")
        elif path.name == "unbind":
            assert self.link(self.device(value) / "driver") == path.parent.name, "unbound from a stranger"
            (self.device(value) / "driver").unlink()
        elif path.name == "bind":
            if not self._matches(value, path.parent.name):
                raise _translated(OSError(errno.ENODEV, ""), path, value)
            self._attach(value, path.parent.name)
        elif path.name == "drivers_probe":
            self._probe(value)

    def _override(self, address: str) -> str:
        return self.text(self.device(address) / "driver_override").replace("(null)", "")

    def _matches(self, address: str, driver: str) -> bool:
        return driver == (self._override(address) or self.natural[address])

    def _probe(self, address: str) -> None:
        """A driver that is missing or whose probe fails is no error of the write."""
        driver = self._override(address) or self.natural[address]
        fails = driver == VFIO_PCI and not (self.device(address) / "iommu_group").exists()
        if driver and self.driver(driver).is_dir() and not fails and not self.link(self.device(address) / "driver"):
            self._attach(address, driver)

    def _attach(self, address: str, driver: str) -> None:
        (self.device(address) / "driver").symlink_to(self.driver(driver))
