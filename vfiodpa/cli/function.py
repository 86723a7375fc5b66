"""A PCI function as far as sysfs tells: for ``show``, also when it cannot be opened."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..errors import VfiodpaError
from ..pci.capability_list import capability_list
from ..pci.config_file import ConfigFile
from ..pci.host import Host
from ..pci.iommu_group import IommuGroup
from ..vdpa.candidate import Candidate
from .output import print_folded, print_grid


def describe_function(host: Host, candidate: Candidate) -> dict[str, Any]:
    """What sysfs tells of a function, ready for JSON."""
    device = candidate.device
    try:
        capabilities, problem = capability_list(ConfigFile.read_from(host, device.address))
    except VfiodpaError as error:
        capabilities, problem = [], str(error)
    group = IommuGroup.read(host, device.iommu_group).members if device.iommu_group is not None else ()
    return {
        "function": candidate.describe(),
        "group_members": [asdict(member) for member in group],
        "capabilities": [asdict(capability) for capability in capabilities],
        "capabilities_problem": problem,
    }


def print_function(facts: dict[str, Any]) -> None:
    """For people."""
    function = facts["function"]
    print_grid(
        ("device", f"{function['device']}, {function['kind']}, subsystem {function['subsystem']}"),
        ("bound to", function["driver"] or "no driver"),
        ("vfiodpa driver", function["vfiodpa_driver"]),
        ("interfaces", " ".join(function["interfaces"])),
        ("NUMA node", "" if function["numa_node"] is None else str(function["numa_node"])),
        ("IOMMU group", _group_words(function["iommu_group"], facts["group_members"])),
        ("VF of", function["physical_function"]),
        ("VFs", " ".join(function["virtual_functions"])),
    )
    if facts["capabilities"] or facts["capabilities_problem"]:
        print("\ncapabilities:")
    for capability in facts["capabilities"]:
        print_folded(
            f"{capability['name']}  {capability['detail']}".rstrip(), first=f"  {capability['offset']:#05x}", indent=9
        )
    if facts["capabilities_problem"]:
        print_folded(facts["capabilities_problem"], indent=2)
    if function["obstacles"]:
        print("\nin the way:")
        for obstacle in function["obstacles"]:
            print_folded(f"{obstacle['text']}; try: {obstacle['remedy']}", indent=2)
    print(flush=True)


def _group_words(number: int | None, members: list[dict[str, str]]) -> str:
    if number is None:
        return ""
    return f"{number}: " + ", ".join(f"{member['name']} ({member['driver'] or 'no driver'})" for member in members)
