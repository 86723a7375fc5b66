"""The NIC at a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import vfiodpa
from vfiodpa.errors import DeviceTimeout, StateError
from vfiodpa.guest.traffic import Plan, run
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_net import NetHdr
from vfiodpa.spec.virtio_pci import DeviceStatus, IsrStatus


@pytest.fixture
def nic() -> Iterator[vfiodpa.Nic]:
    with vfiodpa.open("soft:mac=52:54:00:00:00:01,mtu=9000,queues=2") as one:
        yield one


def soft(nic: vfiodpa.Nic) -> SoftFunction:
    assert isinstance(nic.function, SoftFunction)
    return nic.function


def open_fds() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# Opening and closing


def test_it_says_what_it_is(nic: vfiodpa.Nic) -> None:
    assert repr(nic) == f"<Nic {nic.name}: driver softnic, 2 queue pairs>"


def test_leaving_the_context_closes_everything() -> None:
    with vfiodpa.open("soft"):
        pass  # what is made once per process
    before = open_fds()
    with vfiodpa.open("soft") as nic, nic.guest() as guest:
        guest.start()
    assert open_fds() == before
    assert repr(nic) == f"<Nic {nic.name}: closed>"


def test_closing_twice_is_harmless(nic: vfiodpa.Nic) -> None:
    nic.close()
    nic.close()


@pytest.mark.parametrize("vectors", [0, 1, 2, 3])
def test_it_opens_with_few_vectors(vectors: int) -> None:
    with vfiodpa.open(f"soft:msix={vectors}") as nic:
        assert nic.function.vectors == vectors


# Registers


def test_registers_have_names(nic: vfiodpa.Nic) -> None:
    nic.regs.common.queue_select = 3
    assert nic.regs.common.queue_size == 1024
    assert nic.regs.net.mtu == 9000
    assert {"common", "net", "pci", "isr", "vendor"} <= set(dir(nic.regs))
    assert [name for name, _ in nic.regs] == ["pci", "common", "isr", "net", "vendor"]


def test_an_unknown_block_names_those_there_are(nic: vfiodpa.Nic) -> None:
    with pytest.raises(AttributeError, match=r"no register block 'comon'; there are pci, common"):
        _ = nic.regs.comon


def test_a_block_prints_its_registers(nic: vfiodpa.Nic) -> None:
    lines = repr(nic.regs.common).splitlines()
    assert lines[0] == "CommonCfg (virtio 1.4, 4.1.4.3)"
    assert "  0x0014  device_status            0x03  ACKNOWLEDGE|DRIVER" in lines
    assert "  0x0020  queue_desc               0x0000000000000000" in lines


def test_printing_does_not_read_what_reading_clears(nic: vfiodpa.Nic) -> None:
    soft(nic).set_link(False)
    assert "(reading clears it)" in repr(nic.regs.isr)
    nic.regs.dump()
    assert [int(nic.regs.isr.isr) for _ in range(2)] == [IsrStatus.CONFIG, 0]


def test_the_dump_has_every_block_that_can_be_read(nic: vfiodpa.Nic) -> None:
    dump = nic.regs.dump()
    assert set(dump) == {"pci", "common", "net", "vendor"}
    assert dump["net"]["mtu"] == 9000


def test_a_block_of_a_closed_nic_says_so(nic: vfiodpa.Nic) -> None:
    nic.close()
    assert "the function is closed" in repr(nic.regs.common)
    with pytest.raises(StateError, match="closed"):
        _ = nic.regs.common.device_status


# Features


def test_features_by_any_name(nic: vfiodpa.Nic) -> None:
    for name in ("mrg_rxbuf", "NET_MRG_RXBUF", "VIRTIO_NET_F_MRG_RXBUF", "VIRTIO_F_VERSION_1"):
        assert name in nic.features
    assert "standby" not in nic.features
    with pytest.raises(ValueError, match="no feature is called 'mrg_rx'"):
        _ = "mrg_rx" in nic.features


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mac", ""),
        ("standby", "the device does not have it"),
        ("access_platform", "it is between driver and device only, the guest's driver talks to its VMM"),
    ],
)
def test_why_a_guest_is_not_offered_a_feature(nic: vfiodpa.Nic, name: str, why: str) -> None:
    assert nic.features.why_not(name) == why


def test_features_in_force(nic: vfiodpa.Nic) -> None:
    assert nic.features.negotiated == 0
    assert repr(nic.features).splitlines()[-1] == "negotiated  -"
    with nic.guest() as guest:
        guest.start(Feature.VERSION_1)
        assert nic.features.negotiated & ~nic.features.device == 0
        assert Feature.VERSION_1 in nic.features.negotiated
        assert "negotiated  VERSION_1" in repr(nic.features)


# Configuration and queues


def test_the_configuration_is_read_anew(nic: vfiodpa.Nic) -> None:
    assert (nic.config.mac, nic.config.mtu, nic.config.link_up) == ("52:54:00:00:00:01", 9000, True)
    soft(nic).set_link(False)
    assert nic.config.link_up is False


def test_a_field_that_the_device_does_not_have_is_none() -> None:
    with vfiodpa.open("soft:off=mac+mtu+status+speed_duplex") as nic:
        config = nic.config
        assert (config.mac, config.mtu, config.link_up, config.speed) == (None, None, None, None)


def test_queues_alternate(nic: vfiodpa.Nic) -> None:
    assert [queue.kind for queue in nic.queues] == ["receive", "transmit"] * 2
    assert "doorbell BAR 0+0x3004" in repr(nic.queues[1])


# Events


def test_a_configuration_change_is_an_event(nic: vfiodpa.Nic) -> None:
    with nic.guest() as guest:
        guest.start()
        assert not nic.events.config.pending
        soft(nic).set_link(False)
        assert repr(nic.events.config) == "<event config: pending>"
        assert nic.events.config.wait() == 1
        assert not nic.events.config.pending


def test_an_event_that_does_not_come_is_a_timeout(nic: vfiodpa.Nic) -> None:
    with pytest.raises(DeviceTimeout, match="'release' did not come within"):
        nic.events.release.wait(0.01)


def test_the_function_tells_when_it_is_gone_or_wanted(nic: vfiodpa.Nic) -> None:
    soft(nic).request_release()
    assert nic.events.release.wait() == 1
    soft(nic).unplug()
    assert nic.events.error.wait() == 1
    assert nic.diagnose() == "the function was unplugged"


# Packets


def test_a_frame_by_hand(nic: vfiodpa.Nic) -> None:
    with nic.guest() as guest:
        guest.start()
        receive, transmit = guest.queues
        packet = NetHdr().pack() + bytes(range(60))
        room, at = guest.memory.alloc(2048), guest.memory.alloc(len(packet))
        guest.memory.write(at, packet)
        receive.send(writable=[(room, 2048)])
        transmit.send(readable=[(at, len(packet))], cookie="ping")
        assert transmit.wait().cookie == "ping"
        assert receive.wait().length == len(packet)
        assert guest.memory.read(room, len(packet))[NetHdr.size :] == packet[NetHdr.size :]
        counters = nic.counters()
        assert [queue["packets"] for queue in counters["queues"]] == [1, 1, 0, 0]
        assert counters["driver"]["queue_starts"] == 2


def test_a_failed_device_says_why_and_starts_again(nic: vfiodpa.Nic) -> None:
    with nic.guest() as guest:
        guest.start()
        assert nic.diagnose() == ""
        guest.queues[1].send(readable=[(0xDEAD_0000, 72)])
        nic.events.config.wait()
        assert nic.regs.common.device_status & DeviceStatus.NEEDS_RESET
        assert "0xdead0000 stopped by the IOMMU" in nic.diagnose()
        guest.start()
        assert nic.diagnose() == ""
        assert run(guest, Plan(count=100), seconds=10).clean


def test_serving_and_then_working_by_hand(nic: vfiodpa.Nic, tmp_path: Path) -> None:
    with nic.serve(tmp_path / "s").start() as service, VhostUserGuest(service.path) as guest:
        guest.start(pairs=2)
        assert run(guest, Plan(count=100), seconds=10).clean
    with nic.guest() as direct:
        direct.start()
        soft(nic).set_link(False)
        assert nic.events.config.wait() == 1  # the datapath had the vector
