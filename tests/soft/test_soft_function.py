from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hwtests.footprint import threads
from tests.soft.soft_rig import Nic, RecordingLib, Ring, S, fired
from vfiodpa._native import ffi, lib
from vfiodpa.errors import DeviceGone, StateError, UsageError
from vfiodpa.soft.diagnosis import ErrorCode, explain
from vfiodpa.soft.engine import EngineError
from vfiodpa.soft.function import SoftFunction
from vfiodpa.soft.options import Port
from vfiodpa.soft.stats import QueueStats, WorkerStats
from vfiodpa.soft.vendor import rarp
from vfiodpa.soft.virtio_net import NOTIFY_OFFSET
from vfiodpa.spec.pci import Command, ConfigHeader

Make = Callable[[str], Nic]


def fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_names_are_counted() -> None:
    with SoftFunction() as one, SoftFunction() as two:
        assert one.name.startswith("soft")
        assert one.name != two.name


def test_open_and_close_leak_nothing(eventfd: Callable[[], int]) -> None:
    fd = eventfd()

    def cycle() -> None:
        nic = Nic("soft:queues=2")
        nic.bring_up()
        nic.f.set_irq(0, fd)
        nic.f.set_irq(1, fd)
        nic.f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, fd)
        nic.f.doorbell(0, NOTIFY_OFFSET + 4, 16, 1)
        nic.bell(3)
        nic.f.set_irq(0, None)
        nic.close()

    cycle()
    before = fds(), len(threads())
    for _ in range(50):
        cycle()
    assert (fds(), len(threads())) == before


def test_a_constructor_that_fails_leaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    SoftFunction().close()
    before = fds(), len(threads())
    monkeypatch.setattr("vfiodpa.soft.function.ConfigSpace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        SoftFunction()
    assert (fds(), len(threads())) == before


def test_close_twice_is_harmless_and_afterwards_nothing_works(nic: Nic) -> None:
    window = nic.f.bar(0)
    nic.f.close()
    nic.f.close()
    for use in (
        lambda: window.read(0, 32),
        lambda: nic.f.config.read(0, 32),
        lambda: nic.f.set_irq(0, None),
        lambda: nic.f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, None),
        lambda: nic.f.doorbell(0, NOTIFY_OFFSET, 16, 0),
        nic.f.reset,
        nic.f.worker_stats,
        lambda: nic.f.queue_stats(0),
        nic.f.unplug,
        lambda: nic.f.set_link(up=True),
    ):
        with pytest.raises(StateError, match="closed"):
            use()
    assert nic.f.diagnose() == ""
    assert "closed" in repr(nic.f)


def test_unplugged_it_reads_all_ones_and_says_so(nic: Nic) -> None:
    nic.bring_up()
    nic.f.unplug()
    assert fired(nic.f.error_event) == 1
    assert ConfigHeader(nic.f.config).vendor_id == 0xFFFF
    assert nic.common.device_status == 0xFF
    nic.common.device_status = 0  # goes nowhere
    assert nic.common.device_status == 0xFF
    assert nic.f.diagnose() == "the function was unplugged"
    with pytest.raises(DeviceGone):
        nic.f.set_irq(0, 0)
    nic.f.set_irq(0, None)
    tx = Ring(nic, 1)
    tx.offer(bytes(72))
    assert not tx.wait_used(1, seconds=0.02)


def test_somebody_wants_it_back(nic: Nic) -> None:
    assert fired(nic.f.release_event) == 0
    nic.f.request_release()
    assert fired(nic.f.release_event) == 1


def test_reset_detaches_vectors_and_doorbells(nic: Nic, eventfd: Callable[[], int]) -> None:
    fd, before = eventfd(), fds()
    nic.f.set_irq(0, fd)
    nic.f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, fd)
    nic.f.reset()
    assert fds() == before
    nic.f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, fd)


class TestRingState:
    """docs/reference/software-nic.md."""

    def send(self, nic: Nic, tx: Ring, count: int) -> None:
        for _ in range(count):
            tx.offer(bytes(72))
            nic.bell(tx.queue)
            assert tx.wait_used(tx.avail)

    def test_position_is_live_and_stays_after_queue_reset(self, nic: Nic) -> None:
        nic.bring_up()
        self.send(nic, Ring(nic, 1), 3)
        assert list(nic.vendor.ring_state)[:3] == [0, 3, 0]
        nic.common.queue_select = 1
        nic.common.queue_reset = 1
        assert nic.vendor.ring_state[1] == 3

    def test_position_stays_after_device_reset_until_the_queue_is_enabled(self, nic: Nic) -> None:
        nic.bring_up()
        self.send(nic, Ring(nic, 1), 5)
        nic.common.device_status = 0
        assert nic.vendor.ring_state[1] == 5
        nic.to_features_ok()
        nic.enable(1)
        assert nic.vendor.ring_state[1] == 0

    @pytest.mark.parametrize("stop", ["queue", "device"])
    def test_nothing_moves_between_position_and_stop(
        self, nic: Nic, monkeypatch: pytest.MonkeyPatch, stop: str
    ) -> None:
        nic.bring_up()
        log = RecordingLib()
        monkeypatch.setattr("vfiodpa.soft.engine.lib", log)
        if stop == "queue":
            nic.common.queue_select = 1
            nic.common.queue_reset = 1
        else:
            nic.common.device_status = 0
        read = log.calls.index("vdp_nic_queue_avail")
        off = log.calls.index("vdp_nic_queue_disable" if stop == "queue" else "vdp_nic_reset")
        assert read < off
        depth = 0
        for call in log.calls[:off]:
            depth += {"vdp_nic_pause": 1, "vdp_nic_resume": -1}.get(call, 0)
            assert depth > 0, "the worker went on between reading the position and stopping"

    def test_a_queue_starts_where_it_is_told(self, nic: Nic) -> None:
        nic.to_features_ok()
        nic.vendor.ring_state[1] = 0xFFFE
        assert nic.vendor.ring_state[1] == 0xFFFE
        nic.enable(0)
        nic.enable(1)
        tx = Ring(nic, 1)
        tx.avail = 0xFFFE
        for index in (0x8002, 0xA002):  # avail and used
            tx.put(index, (0xFFFE).to_bytes(2, "little"))
        nic.common.device_status |= S.DRIVER_OK
        self.send(nic, tx, 4)
        assert tx.avail == 2
        assert nic.vendor.ring_state[1] == 2

    def test_a_reset_forgets_what_was_written(self, nic: Nic) -> None:
        nic.vendor.ring_state[1] = 7
        nic.bring_up()
        tx = Ring(nic, 1)
        self.send(nic, tx, 1)
        assert nic.vendor.ring_state[1] == 1


def test_active_pairs_are_all_after_reset(make_nic: Make) -> None:
    nic = make_nic("soft:queues=4")
    assert nic.vendor.active_pairs == 4
    nic.vendor.active_pairs = 2
    assert nic.vendor.active_pairs == 2
    nic.common.device_status = 0
    assert nic.vendor.active_pairs == 4


def test_announcement_goes_over_the_wire(nic: Nic) -> None:
    nic.bring_up()
    rx = Ring(nic, 0)
    rx.offer(bytes(256), writable=True)
    nic.bell(0)
    mac = bytes.fromhex("525400a0b0c0")
    nic.vendor.announce_mac_low = int.from_bytes(mac[:4], "little")
    nic.vendor.announce_mac_high = int.from_bytes(mac[4:], "little")
    assert rx.wait_used(1)  # port=echo gives it back
    assert rx.buffer(0, 72)[12:] == rarp(mac)


def test_rarp_frame_is_a_broadcast_reverse_request() -> None:
    mac = bytes.fromhex("525400a0b0c0")
    frame = rarp(mac)
    assert len(frame) == 60
    assert frame[:14] == b"\xff" * 6 + mac + b"\x80\x35"
    assert frame[14:22] == bytes.fromhex("0001080006040003")
    assert frame[22:42] == mac + bytes(4) + mac + bytes(4)


class TestCounters:
    def test_layouts_match_the_structs_in_c(self) -> None:
        for layout, name in ((QueueStats, "struct vdp_queue_stats"), (WorkerStats, "struct vdp_worker_stats")):
            assert layout.size == ffi.sizeof(name)
            in_c = dict(ffi.typeof(name).fields)
            assert {field.name: field.offset for field in layout.fields} == {n: f.offset for n, f in in_c.items()}

    def test_enumerations_match_those_in_c(self) -> None:
        in_c = ffi.typeof("enum vdp_nic_error_code").relements
        assert {f"VDP_NIC_{code.name}": code.value for code in ErrorCode} == in_c
        assert {f"VDP_PORT_{port.name}": port.value for port in Port} == ffi.typeof("enum vdp_port").relements
        assert lib.VDP_DOORBELL_EVENTFD == 2

    def test_every_error_is_explained(self) -> None:
        assert explain(EngineError(0, 0, 0), None) == ""
        lines = {explain(EngineError(code, 3, 5), None) for code in ErrorCode if code}
        assert len(lines) == len(ErrorCode) - 1
        assert all(line.startswith("queue 3: ") for line in lines)
        assert "error 99" in explain(EngineError(99, 0, 0), None)

    def test_they_count(self, nic: Nic) -> None:
        nic.bring_up()
        rx, tx = Ring(nic, 0), Ring(nic, 1)
        rx.offer(bytes(256), writable=True)
        tx.offer(bytes(72))
        nic.bell(1)
        assert rx.wait_used(1)
        assert tx.wait_used(1)
        counters = nic.f.counters()
        assert [(q["kind"], q["packets"], q["bytes"]) for q in counters["queues"]] == [("rx", 1, 60), ("tx", 1, 60)]
        assert [worker["packets"] for worker in counters["workers"]] == [1]
        with pytest.raises(UsageError):
            nic.f.queue_stats(2)


def test_registers_can_be_used_from_several_threads(nic: Nic, eventfd: Callable[[], int]) -> None:
    nic.bring_up()
    errors: list[Exception] = []
    fd = eventfd()

    def work(do: Callable[[], object]) -> None:
        try:
            for _ in range(100):
                do()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    jobs = [
        lambda: nic.common.device_status,
        lambda: nic.f.set_irq(1, fd),
        lambda: nic.bell(1),
        lambda: nic.f.set_link(up=True),
        lambda: nic.vendor.ring_state[1],
    ]
    workers = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []


def test_idle_it_costs_no_cpu(nic: Nic) -> None:
    nic.bring_up()
    nic.bell(1)
    threading.Event().wait(0.05)
    before = os.times()
    threading.Event().wait(0.3)
    after = os.times()
    assert (after.user + after.system) - (before.user + before.system) < 0.1


def test_the_context_manager_resets_and_closes() -> None:
    with SoftFunction("soft:port=discard") as function:
        ConfigHeader(function.config).command = Command.MEMORY
        assert "discard" in repr(function)
    with pytest.raises(StateError):
        function.bar(0).read(0, 32)
