"""What the machine is made of: processors, memory, the IOMMU and the NICs, as arguments of QEMU."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .nic import Nic

ROOT_PORTS = 0x10  # their first slot on bus 0


class Iommu(Enum):
    """Which IOMMU stands between the NICs and memory."""

    INTEL = "intel"  # 48-bit addresses
    INTEL39 = "intel39"  # 39-bit addresses: guest memory can lie beyond them
    VIRTIO = "virtio"
    NONE = "none"

    def argv(self) -> list[str]:
        match self:
            case Iommu.NONE:
                return []
            case Iommu.VIRTIO:
                return ["-device", "virtio-iommu-pci,addr=3"]
            case _:
                width = 39 if self is Iommu.INTEL39 else 48
                return ["-device", f"intel-iommu,intremap=on,caching-mode=on,device-iotlb=on,aw-bits={width}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine. ``hugepages`` counts pages of 2 MiB; ``extra`` are more arguments for QEMU, such as traces."""

    nics: tuple[Nic, ...] = (Nic(),)
    iommu: Iommu = Iommu.INTEL
    memory_mb: int = 3072
    hugepages: int = 0
    extra: tuple[str, ...] = ()

    @property
    def taps(self) -> bool:
        """QEMU's own hubs have one queue: NICs with several meet on bridges of the host's kernel instead."""
        return any(nic.pairs > 1 for nic in self.nics)

    @property
    def wires(self) -> list[int]:
        return sorted({nic.wire for nic in self.nics if nic.wire is not None})

    def address(self, index: int) -> str:
        """The PCI address of a NIC: 0000:00:05.0, 06.0, …; behind a root port 0000:01:00.0, 02:00.0, …"""
        if self.nics[index].hotplug:
            return f"0000:{self._bus(index):02x}:00.0"
        return f"0000:00:{self._slot(index):02x}.{int(self.nics[index].twin)}"

    def addresses(self, *, vfio: bool) -> list[str]:
        """The addresses of the NICs for VFIO, or of those for the kernel."""
        return [self.address(index) for index, nic in enumerate(self.nics) if nic.vfio is vfio]

    def _slot(self, index: int) -> int:
        return 5 + index - self.nics[index].twin

    def _bus(self, index: int) -> int:
        return 1 + sum(nic.hotplug for nic in self.nics[:index])

    def argv(self, shared: Path) -> list[str]:
        """QEMU's arguments; ``shared`` is the directory that host and machine share."""
        argv = ["-machine", "q35,accel=tcg,kernel-irqchip=split", "-cpu", "max", "-smp", "2"]
        argv += ["-m", f"{self.memory_mb}M", "-nodefaults", "-display", "none"]
        argv += ["-no-reboot", "-action", "panic=shutdown", *self.iommu.argv()]
        argv += _share("host", Path("/"), ",readonly=on") + _share("rig", shared, "")
        for index, nic in enumerate(self.nics):
            place = f"addr={self._slot(index):#x}.{int(nic.twin)},multifunction=on"
            if nic.hotplug:
                bus = self._bus(index)
                port = f"pcie-root-port,id=port{bus},chassis={bus},slot={bus},addr={ROOT_PORTS + bus:#x}"
                argv += ["-device", port]
                place = f"bus=port{bus}"
            argv += nic.argv(index, place, shared, tap=self.taps)
        return [*argv, *self.extra]

    def wrapped(self, qemu: list[str]) -> list[str]:
        """The command that runs ``qemu``, where needed in a network namespace of its own with bridges and taps."""
        if not self.taps:
            return qemu
        lines = ["echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"]  # its own frames would be on the wire
        lines += [f"ip link add wire{wire} up type bridge mcast_snooping 0" for wire in self.wires]
        for index, nic in enumerate(self.nics):
            lines += nic.tap(index)
        # unshare as a user drops the death signal that came with the process.
        lines += ['exec setpriv --pdeathsig KILL "$@"']
        return ["unshare", "--map-root-user", "--net", "sh", "-ec", "\n".join(lines), "rig", *qemu]

    def command_line(self) -> str:
        """The kernel's. On a busy host it would find its timers broken (the checks have deadlines), and panic."""
        words = ["console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable mitigations=off"]
        words += ["ipv6.disable=1 intel_iommu=on"]
        if self.iommu is Iommu.VIRTIO:  # it translates addresses, but remaps no interrupts: the guest is trusted
            words += [f"{module}.allow_unsafe_interrupts=1" for module in ("iommufd", "vfio_iommu_type1")]
        if self.hugepages:
            words.append(f"default_hugepagesz=2M hugepages={self.hugepages}")
        return " ".join(words)


def _share(tag: str, path: Path, options: str) -> list[str]:
    fsdev = f"local,id={tag},path={path},security_model=none,multidevs=remap{options}"
    return ["-fsdev", fsdev, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
