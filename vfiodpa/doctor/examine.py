"""All checks, for the machine and for one device."""

from __future__ import annotations

from ..pci.address import normalise
from ..pci.host import Host
from .check import Check, Report
from .function import function_checks
from .kernel import check_backends, check_driver, check_iommu, check_remapping
from .limits import check_hugepages, check_kvm, check_memlock
from .nodes import check_nodes
from .probe import KernelProber, Prober
from .software import software_checks


def examine(host: Host, device: str = "", prober: Prober | None = None) -> Report:
    """``device``: a PCI address, ``soft`` (the software path alone), or nothing (the machine as such).

    Raises ``UsageError`` for what is no device.
    """
    if device.partition(":")[0] == "soft":
        return Report((), software_checks(device))
    prober = prober or KernelProber()
    address = normalise(device) if device else ""
    iommu = check_iommu(host)
    hardware: list[Check] = [iommu, check_driver(host), *check_backends(host, prober), check_remapping(host)]
    hardware += function_checks(host, address, prober) if address else check_nodes(host)
    hardware += [check_memlock(), check_hugepages(host), check_kvm(host)]
    present = not address or host.device(address).is_dir()
    return Report(tuple(hardware), software_checks(), has_iommu=not iommu.remedy, present=present)
