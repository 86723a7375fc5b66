"""A device that misbehaves under a guest, over vhost-user: the guest learns of it, and others are served."""

from __future__ import annotations

import select
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import DEADLINE, Served, Stream, move, needs_reset, wait_for, warnings
from tests.e2e.server import Server
from vfiodpa.errors import ExitCode, VfiodpaError
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.soft.faults import Fault
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.vdpa.datapath import State
from vfiodpa.vdpa.service import HEALTH_CHECK

MODELS = pytest.mark.parametrize("model", ["soft", "soft:model=ifcvf"])


def errors(guest: VhostUserGuest) -> int:
    """How many of the guest's error eventfds are signalled."""
    return len(select.select([guest.error_fd(queue) for queue in range(2)], [], [], 0)[0])


def recovers(served: Served, guest: VhostUserGuest) -> None:
    """Once the device behaves again, a guest that resets it works again."""
    served.function.inject_fault(None)
    guest.set_status(DeviceStatus(0))
    guest.start()
    move(guest)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.NO_RESET, "the device reset did not end within 1 s"),
        (Fault.NO_FEATURES_OK, "the device refused the features"),
        (Fault.NO_VECTOR, "the device refused MSI-X vector 0"),
    ],
)
def test_a_device_that_cannot_be_started(
    serve: Serve, connect: Connect, neighbour: Stream, fault: Fault, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    served.function.inject_fault(fault)
    guest = connect(served)
    guest.start()
    served.wait_state(State.FAILED)
    assert needs_reset(guest)
    assert errors(guest) == 2
    assert says in warnings(caplog.records)[-1]
    recovers(served, guest)


@MODELS
def test_a_queue_that_never_stops(
    serve: Serve, connect: Connect, neighbour: Stream, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(model)
    guest = connect(served)
    guest.start()
    move(guest, count=300)
    served.function.inject_fault(Fault.STUCK_QUEUE)
    assert guest.stop_queue(0) == 300
    assert served.datapath.state is State.FAILED
    assert errors(guest) == 2
    assert "the stop of queue 0 did not end within 1 s" in caplog.text
    recovers(served, guest)


@MODELS
def test_a_device_that_never_leaves_reset_is_left_by_its_guest(
    serve: Serve, connect: Connect, neighbour: Stream, model: str
) -> None:
    """The guest's end is not held up, nor its memory written to, and the next guest finds the device mended."""
    served = serve(model)
    with connect(served) as guest:
        guest.start()
        move(guest)
        served.function.inject_fault(Fault.NO_RESET)
    served.wait_state(State.IDLE)
    packets = served.packets(1)
    served.function.inject_fault(None)
    assert served.packets(1) == packets
    with connect(served) as guest:
        guest.start()
        move(guest)


@MODELS
def test_a_wedged_device_is_reset_and_serves_on(
    serve: Serve, connect: Connect, neighbour: Stream, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The guest's reset needs one of the function. All that this takes away is there again for the next start."""
    served = serve(model)
    guest = connect(served)
    guest.start()
    move(guest)
    served.function.inject_fault(Fault.WEDGED)
    guest.set_status(DeviceStatus(0))
    assert served.datapath.state is State.ATTACHED
    guest.start()
    move(guest)
    assert served.nic.device.stats()["function_resets"] == 1
    assert "the device reset did not end within 1 s; a function reset is tried" in warnings(caplog.records)[0]
    guest.close()
    with connect(served) as another:
        another.start()
        move(another)


def hang_up_within(guest: VhostUserGuest, seconds: float) -> bool:
    """Is the guest disconnected in time?"""
    return bool(select.select([guest.channel.socket], [], [], seconds)[0]) and not guest.channel.socket.recv(1)


@MODELS
@pytest.mark.parametrize("silently", [False, True], ids=["told", "silent"])
def test_a_removed_device_disconnects_its_guest_and_ends_the_service(
    serve: Serve, connect: Connect, neighbour: Stream, model: str, silently: bool
) -> None:
    served = serve(model)
    guest = connect(served)
    guest.start()
    move(guest)
    start = time.monotonic()
    served.function.unplug(silently=silently)
    assert hang_up_within(guest, DEADLINE)
    assert time.monotonic() - start < HEALTH_CHECK + 5
    assert errors(guest) == 2
    wait_for(lambda: served.service._thread is not None and not served.service._thread.is_alive(), "the end")
    assert "the device is gone" in str(served.service.lost)
    with suppress(VfiodpaError):
        guest.close()
    with suppress(VfiodpaError):
        served.nic.close()  # reports it once more


@pytest.mark.parametrize("fault", ["all_ones", "no_reset"])
def test_serve_ends_with_the_code_of_a_failed_device(tmp_path: Path, fault: str) -> None:
    with Server(tmp_path / "nic.sock", device=f"soft:fault={fault}") as server:
        if fault == "no_reset":
            assert server.line()
            server.end()
        assert server.wait() == ExitCode.DEVICE
        assert {"all_ones": "the device is gone", "no_reset": "did not end within 1 s"}[fault] in server.stderr
