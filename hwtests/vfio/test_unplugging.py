"""The NIC is taken out of the machine while it is in use. It does not come back: it is not the one of ``--device``."""

from __future__ import annotations

import pytest

from hwtests.rig.qmp import Qmp
from vfiodpa.vdpa.devices import Access, open_nic

RELEASE_S = 20.0


@pytest.mark.usefixtures("in_rig")
def test_it_is_asked_back_and_goes(rig_nics: list[str], access: Access) -> None:
    behind_ports = [name for name in rig_nics if not name.startswith("0000:00:")]
    if not behind_ports:
        pytest.skip("no NIC is behind a root port")
    device = behind_ports[0]
    # Only removable NICs have no place on bus 0; QEMU's names count all of them.
    name = f"nic{rig_nics.index(device)}"
    with Qmp.inside() as qmp:
        with open_nic(device, access=access) as nic, nic.guest() as guest:
            guest.start()
            qmp.execute("device_del", id=name)
            nic.events.release.wait(RELEASE_S)
        qmp.wait_event("DEVICE_DELETED", device=name)
