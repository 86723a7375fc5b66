"""One emulated virtio-net-pci function and its wire."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A virtio-net-pci function, modern only, whose DMA goes through the IOMMU.

    With ``vfio`` it is bound to vfio-pci before the job starts, else the kernel's own driver has it.
    NICs of the same ``wire`` hear each other; without one, a NIC's frames go nowhere but into its capture file.
    ``hotplug`` puts it behind a root port, from which it can be unplugged (``device_del`` of ``nic0``, …).
    ``twin`` makes it the second function of the device of the NIC before it: both are in one IOMMU group.
    ``vectors``: MSI-X vectors; without a number, one for each queue and one for configuration changes.
    ``mtu``: the MTU that it offers.
    """

    vfio: bool = True
    packed: bool = False
    page_per_vq: bool = False
    pairs: int = 1
    wire: int | None = None
    hotplug: bool = False
    twin: bool = False
    vectors: int | None = None
    mtu: int | None = None

    @classmethod
    def parse(cls, text: str) -> Nic:
        """From the command line: words joined by ``+``, such as ``packed+mq2+wire0`` or ``kernel+wire0``."""
        words = set(text.split("+"))
        counts = {word.rstrip("0123456789"): word for word in words if word[-1:].isdigit()}
        rest = words - {counts.get(word) for word in ("wire", "mq", "vectors", "mtu")}
        if unknown := rest - {"split", "packed", "page-per-vq", "vfio", "kernel", "hotplug", "twin"}:
            raise ValueError(f"a NIC cannot be {', '.join(sorted(unknown))}")
        return cls(
            vfio="kernel" not in words,
            packed="packed" in words,
            page_per_vq="page-per-vq" in words,
            pairs=int(counts.get("mq", "mq1")[2:]),
            wire=int(counts["wire"][4:]) if "wire" in counts else None,
            hotplug="hotplug" in words,
            twin="twin" in words,
            vectors=int(counts["vectors"][7:]) if "vectors" in counts else None,
            mtu=int(counts["mtu"][3:]) if "mtu" in counts else None,
        )

    def argv(self, index: int, place: str, captures: Path, *, tap: bool) -> list[str]:
        """QEMU's arguments for the NIC ``nic{index}``; its frames also go to ``captures/nic{index}.pcap``."""
        name = f"nic{index}"
        hub = 100 + index if self.wire is None else self.wire
        netdev = f"tap,id={name}-net,ifname={name},queues={self.pairs},vhost=off,vnet_hdr=off,script=no,downscript=no"
        if not tap:
            netdev = f"hubport,id={name}-net,hubid={hub}"
        # A hub with one port takes no frames at all: the other end of no wire is a port without a NIC.
        sink = ["-netdev", f"hubport,id={name}-sink,hubid={hub}"] if self.wire is None and not tap else []
        device = f"virtio-net-pci,id={name},netdev={name}-net,mac=52:54:00:00:00:{index + 1:02x},{place}"
        device += ",disable-legacy=on,iommu_platform=on,ats=on,romfile="
        device += f",packed={_on(self.packed)},page-per-vq={_on(self.page_per_vq)}"
        argv = ["-netdev", netdev, *sink]
        if self.mtu is not None:
            device += f",host_mtu={self.mtu}"
        # With several pairs a vector for each queue, one for the control queue and one for the configuration.
        vectors = 2 * self.pairs + 2 if self.vectors is None and self.pairs > 1 else self.vectors
        if vectors is not None:
            device += f",vectors={vectors}"
        if self.pairs > 1:
            return [*argv, "-device", f"{device},mq=on"]  # and no dump: it has one queue
        dump = f"filter-dump,id={name}-dump,netdev={name}-net,file={captures / name}.pcap"
        return [*argv, "-device", device, "-object", dump]

    def tap(self, index: int) -> list[str]:
        """Shell commands that make its tap device, on the bridge that is its wire."""
        name, several = f"nic{index}", "multi_queue" if self.pairs > 1 else ""
        wire = "" if self.wire is None else f"master wire{self.wire}"
        return [f"ip tuntap add dev {name} mode tap {several}", f"ip link set {name} {wire} up"]


def _on(flag: bool) -> str:
    return "on" if flag else "off"
