from __future__ import annotations

import pytest

from vfiodpa.errors import UsageError
from vfiodpa.soft.device_string import parse_options
from vfiodpa.soft.faults import Fault
from vfiodpa.soft.options import NEVER_SLEEP, SHARED, LmLayout, Model, Port, SoftOptions
from vfiodpa.spec.features import Feature


def test_bare_name_gives_the_defaults() -> None:
    options = parse_options("soft")
    assert (options.port, options.queues, options.size, options.poll_us) == (Port.ECHO, 1, 1024, 50)
    assert options.vectors == 3
    assert options.ioeventfd
    assert options.reset


def test_every_key_is_taken() -> None:
    options = parse_options(
        "soft:port=generate,mac=52:54:00:00:00:01,mtu=9000,queues=4,size=256,poll=busy,cpu=1,msix=2,page_per_vq=on,"
        "notifier=on,ioeventfd=off,model=plain,reset=off,off=event_idx+mrg_rxbuf,frame=64,pps=1000,iova=39,msi_hole=on"
    )
    assert options == SoftOptions(
        port=Port.GENERATE,
        mac=bytes.fromhex("525400000001"),
        mtu=9000,
        queues=4,
        size=256,
        poll_us=NEVER_SLEEP,
        cpus=(1,),
        msix=2,
        page_per_vq=True,
        notifier=True,
        ioeventfd=False,
        model=Model.PLAIN,
        reset=False,
        off=Feature.EVENT_IDX | Feature.NET_MRG_RXBUF,
        frame=64,
        pps=1000,
        iova=39,
        msi_hole=True,
    )


def test_keys_of_ifcvf() -> None:
    options = parse_options("soft:model=ifcvf,lm=queues,fault=no_reset,queues=32")
    assert options.model is Model.IFCVF
    assert options.lm is LmLayout.QUEUES
    assert options.fault is Fault.NO_RESET
    assert not options.features & Feature.RING_RESET


def test_what_is_off_is_not_offered() -> None:
    features = parse_options("soft:off=event_idx,reset=off").features
    assert not features & (Feature.EVENT_IDX | Feature.RING_RESET)
    assert features & Feature.VERSION_1


def test_default_macs_are_distinct_and_locally_administered() -> None:
    macs = [parse_options("soft").mac for _ in range(200)]
    assert len(set(macs)) == 200
    assert all(mac[0] & 3 == 2 for mac in macs)


def test_ports_with_the_kernels_header_carry_no_tunnels() -> None:
    tunnels = Feature.NET_HOST_UDP_TUNNEL_GSO | Feature.NET_HOST_UDP_TUNNEL_GSO_CSUM
    for port in ("port=echo", "link=a", "port=discard"):
        assert parse_options(f"soft:{port}").features & tunnels == tunnels
    for port in ("tap=a", "packet=a"):
        features = parse_options(f"soft:{port}").features
        assert not features & tunnels
        assert features & Feature.NET_HOST_TSO4


def test_notif_data_is_offered_when_asked_for() -> None:
    assert Feature.NOTIF_CONFIG_DATA not in parse_options("soft").features
    assert Feature.NOTIF_CONFIG_DATA in parse_options("soft:notif_data=on").features


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hard", "no software NIC"),
        ("soft:lm=none", "for model=ifcvf only"),
        ("soft:model=ifcvf,reset=on", "no RING_RESET"),
        ("soft:model=ifcvf,queues=33", "up to 32 queue pairs"),
        ("soft:fault=none", "no_reset, wedged, no_features_ok"),
        ("soft:sped=1", "port, tap, packet"),
        ("soft:port", "port, tap, packet"),
        ("soft:port=wire", "echo, discard, generate"),
        ("soft:mac=1:2", "52:54:00:00:00:01"),
        ("soft:mac=01:00:00:00:00:00", "unicast"),
        ("soft:mtu=67", "68 to 65535"),
        ("soft:queues=0", "1 to 128"),
        ("soft:queues=129", "1 to 128"),
        ("soft:size=3", "power of two"),
        ("soft:size=65536", "power of two"),
        ("soft:poll=-1", "busy"),
        ("soft:msix=2049", "2048"),
        ("soft:reset=yes", "on or off"),
        ("soft:model=fancy", "default, plain"),
        ("soft:off=version_1", "event_idx"),
        ("soft:off=warp", "event_idx"),
        ("soft:port=generate,frame=59", "60 to 65535"),
        ("soft:frame=64", "port=generate"),
        ("soft:mtu=1500,mtu=1500", "twice"),
        ("soft:notifier=maybe", "on or off"),
        ("soft:notifier=on,page_per_vq=off", "cannot be with page_per_vq=off"),
    ],
)
def test_bad_options_list_what_is_legal(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_options(text)


@pytest.mark.parametrize(("word", "poll_us"), [("busy", NEVER_SLEEP), ("adaptive", 50), ("sleep", 0), ("7", 7)])
def test_words_for_polling(word: str, poll_us: int) -> None:
    assert parse_options(f"soft:poll={word}").poll_us == poll_us


def test_workers_and_their_cpus() -> None:
    options = parse_options("soft:queues=4,workers=3,cpus=5+1-2")
    assert [options.cpu_of(worker) for worker in range(4)] == [5, 1, 2, 5]
    assert parse_options("soft:workers=shared").workers == SHARED
    assert parse_options("soft").cpu_of(0) == -1


@pytest.mark.parametrize(
    "text", ["workers=2", "workers=0", "queues=2,workers=3", "workers=shared,cpu=1", "cpu=1,cpus=2"]
)
def test_workers_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        parse_options(f"soft:{text}")
