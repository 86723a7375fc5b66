"""What the machine is made of: processors, memory, the IOMMU and the NICs, as arguments of QEMU."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

FIRST_SLOT = 5  # a NIC's place on bus 0: 0000:00:05.0, 06.0, …


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
class Nic:
    """A virtio-net-pci function.

    With ``vfio`` it is bound to vfio-pci before the job starts, else the kernel's own driver has it.
    NICs of the same ``wire`` hear each other; a ``wire`` of -1 ends in a capture file only.
    """

    vfio: bool = True
    packed: bool = False
    page_per_vq: bool = False
    wire: int = -1

    @classmethod
    def parse(cls, words: str) -> Nic:
        """From the command line: words joined by ``+``, such as ``packed+page-per-vq+wire0`` or ``kernel+wire0``."""
        given = set(words.split("+"))
        wires = {word for word in given if word.startswith("wire")}
        if unknown := given - wires - {"split", "packed", "page-per-vq", "vfio", "kernel"}:
            raise ValueError(f"a NIC cannot be {', '.join(sorted(unknown))}")
        return cls(
            vfio="kernel" not in given,
            packed="packed" in given,
            page_per_vq="page-per-vq" in given,
            wire=int(wires.pop()[4:]) if wires else -1,
        )

    def argv(self, index: int, captures: Path) -> list[str]:
        """QEMU's arguments for the NIC in slot ``FIRST_SLOT + index``; its frames go to ``captures/nicN.pcap``."""
        name = f"nic{index}"
        hub = 100 + index if self.wire < 0 else self.wire
        device = (
            f"virtio-net-pci,id={name},netdev={name}-net,mac=52:54:00:00:00:{index + 1:02x},addr={FIRST_SLOT + index}"
        )
        device += ",disable-legacy=on,iommu_platform=on,ats=on,romfile="
        device += f",packed={_on(self.packed)},page-per-vq={_on(self.page_per_vq)}"
        return [
            *("-netdev", f"hubport,id={name}-net,hubid={hub}"),
            *("-device", device),
            *("-object", f"filter-dump,id={name}-dump,netdev={name}-net,file={captures / name}.pcap"),
        ]


def _on(flag: bool) -> str:
    return "on" if flag else "off"


def address(index: int) -> str:
    """The PCI address of the NIC ``index``."""
    return f"0000:00:{FIRST_SLOT + index:02x}.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine. ``hugepages`` counts pages of 2 MiB."""

    nics: tuple[Nic, ...] = (Nic(),)
    iommu: Iommu = Iommu.INTEL
    memory_mb: int = 3072
    hugepages: int = 0

    def vfio_addresses(self) -> list[str]:
        return [address(index) for index, nic in enumerate(self.nics) if nic.vfio]

    def argv(self, shared: Path) -> list[str]:
        """QEMU's arguments; ``shared`` is the directory that host and machine share."""
        argv = [
            "-machine",
            "q35,accel=tcg,kernel-irqchip=split",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            f"{self.memory_mb}M",
        ]
        argv += ["-nodefaults", "-display", "none", "-no-reboot", "-action", "panic=shutdown"]
        argv += self.iommu.argv()
        argv += _share("host", Path("/"), ",readonly=on") + _share("rig", shared, "")
        for index, nic in enumerate(self.nics):
            argv += nic.argv(index, shared)
        return argv

    def command_line(self) -> str:
        """The kernel's."""
        words = ["console=ttyS0 quiet panic=-1 tsc=reliable intel_iommu=on"]
        if self.hugepages:
            words.append(f"default_hugepagesz=2M hugepages={self.hugepages}")
        return " ".join(words)


def _share(tag: str, path: Path, options: str) -> list[str]:
    fsdev = f"local,id={tag},path={path},security_model=none,multidevs=remap{options}"
    return ["-fsdev", fsdev, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
