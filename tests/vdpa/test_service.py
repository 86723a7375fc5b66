"""One device on one socket."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vfiodpa
from vfiodpa.errors import DeviceGone, StateError, UsageError
from vfiodpa.guest.traffic import Plan, run
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.soft.faults import Fault
from vfiodpa.soft.function import SoftFunction
from vfiodpa.vdpa.datapath import State
from vfiodpa.vdpa.service import Service


@pytest.fixture
def nic() -> Iterator[vfiodpa.Nic]:
    with vfiodpa.open("soft:port=echo") as one:
        yield one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nic.sock"


def open_fds() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def wait_for(service: Service, state: State) -> None:
    end = time.monotonic() + 5
    while service.datapath.state is not state:
        assert time.monotonic() < end, service
        time.sleep(0.005)


def test_guests_come_one_after_the_other(nic: vfiodpa.Nic, path: Path) -> None:
    with nic.serve(path).start() as service:
        for _ in range(3):
            with VhostUserGuest(path) as guest:
                guest.start()
                assert run(guest, Plan(count=50), seconds=10).clean
            wait_for(service, State.IDLE)
        assert nic.device.status == 0


def test_it_says_when_it_can_be_used(nic: vfiodpa.Nic, path: Path) -> None:
    lines: list[str] = []
    with nic.serve(path, on_ready=lines.append) as service:
        assert lines == []  # nobody listens before the loop runs
        service.start()
        VhostUserGuest(path).close()
    assert lines == [f"listening on {path}"]


def test_the_socket_goes_with_it(nic: vfiodpa.Nic, path: Path) -> None:
    with nic.serve(path).start():
        assert path.is_socket()
    assert not path.exists()


def test_a_stale_socket_is_replaced(nic: vfiodpa.Nic, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    with nic.serve(path).start(), VhostUserGuest(path) as guest:
        assert guest.offered


def test_a_live_socket_is_refused_and_nothing_is_left(nic: vfiodpa.Nic, path: Path) -> None:
    with vfiodpa.open("soft") as other, nic.serve(path).start():
        before = open_fds()
        with pytest.raises(StateError, match="another process serves"):
            other.serve(path).start()
        end = time.monotonic() + 5
        while open_fds() != before:  # the living one has accepted the probe, and lets go of it in its own time
            assert time.monotonic() < end, "an fd is left"
            time.sleep(0.01)
    assert not path.exists()


def test_what_is_not_a_socket_is_left_alone(nic: vfiodpa.Nic, path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(UsageError, match="not a socket"):
        nic.serve(path).start()
    assert path.read_text() == "mine"


def test_client_mode_connects(nic: vfiodpa.Nic, path: Path) -> None:
    lines: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with nic.serve(path, client=True, on_ready=lines.append).start():
            listener.accept()[0].close()
    assert lines == [f"connected to {path}"]


def test_it_starts_once(nic: vfiodpa.Nic, path: Path) -> None:
    with nic.serve(path).start() as service, pytest.raises(StateError, match="runs already"):
        service.start()


def test_it_can_be_stopped_and_started_with_a_guest(nic: vfiodpa.Nic, path: Path) -> None:
    with nic.serve(path).start() as service, VhostUserGuest(path) as guest:
        guest.start()
        service.stop()
        assert run(guest, Plan(count=50), seconds=10).clean  # the data path needs no event loop
        service.start()
        assert guest.stop()


def test_a_signal_ends_run(nic: vfiodpa.Nic, path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with nic.serve(path) as service:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        service.run(signal.SIGTERM)
        timer.join()
    assert signal.getsignal(signal.SIGTERM) == before


def test_closing_under_a_guest_detaches_it(nic: vfiodpa.Nic, path: Path) -> None:
    with nic.serve(path).start(), VhostUserGuest(path) as guest:
        guest.start()  # the NIC makes its doorbells' eventfds at the first use
    before = open_fds()
    service = nic.serve(path).start()
    guest = VhostUserGuest(path)
    guest.start()
    service.close()
    assert service.datapath.state is State.CLOSED
    assert nic.device.status == 0
    guest.close()
    service.close()  # harmless
    assert open_fds() == before


def test_it_says_how_it_goes(nic: vfiodpa.Nic, path: Path) -> None:
    with nic.serve(path) as service:
        assert repr(service) == f"<Service {path}: <Datapath {nic.name}: no guest, queues []>>"


def test_a_lost_device_ends_run_with_what_happened(nic: vfiodpa.Nic, path: Path) -> None:
    assert isinstance(nic.function, SoftFunction)
    with nic.serve(path) as service:
        timer = threading.Timer(0.05, nic.function.unplug)
        timer.start()
        with pytest.raises(DeviceGone, match="the device is gone"):
            service.run()
        timer.join()
        assert not path.exists()


def test_a_function_that_is_wanted_back_is_let_go(nic: vfiodpa.Nic, path: Path) -> None:
    assert isinstance(nic.function, SoftFunction)
    with nic.serve(path).start() as service, VhostUserGuest(path) as guest:
        guest.start()
        nic.function.request_release()
        assert service._thread is not None
        service._thread.join(5)
        assert not service._thread.is_alive()
        assert "wanted back" in str(service.lost)
        assert nic.device.status == 0


def test_a_device_that_runs_is_looked_at(nic: vfiodpa.Nic, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfiodpa.vdpa.service.HEALTH_CHECK", 0.02)
    assert isinstance(nic.function, SoftFunction)
    with nic.serve(path).start() as service, VhostUserGuest(path) as guest:
        guest.start()
        time.sleep(0.1)
        assert service.datapath.state is State.RUNNING
        nic.function.inject_fault(Fault.ALL_ONES)
        assert service._thread is not None
        service._thread.join(5)
        assert isinstance(service.lost, DeviceGone)
