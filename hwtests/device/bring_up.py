"""A driver's bring-up of a NIC, and what it found: the same on the NIC and on a recording of it.

python -m hwtests.device.bring_up DEVICE TRACE > FACTS.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from vfiodpa.cli.show import describe
from vfiodpa.spec.features import names
from vfiodpa.vdpa.devices import DEFAULT, Access, open_nic

FACTS = ("driver", "pci", "config", "queue_pairs", "queues", "iova_ranges")  # nothing that is in our words


def bring_up(device: str, access: Access = DEFAULT) -> dict[str, Any]:
    """Open it, look at it, start its queues, close it."""
    with open_nic(device, access=access) as nic:
        shown = describe(nic)
        facts = {name: shown[name] for name in FACTS}
        facts["features"] = shown["features"]["device"]
        with nic.guest() as guest:
            guest.start(size=min(256, nic.queues[0].size_max))
            facts["negotiated"] = names(nic.device.negotiated)
            facts["status"] = nic.device.status.name
        facts["after"] = nic.device.status.name
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def main() -> None:
    """Record a bring-up; what it found goes to standard output."""
    device, trace = sys.argv[1:]
    sys.stdout.write(json.dumps(bring_up(device, Access(trace=Path(trace))), indent=1) + "\n")


if __name__ == "__main__":
    main()
