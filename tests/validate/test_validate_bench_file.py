"""Bench files and their hooks."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.cli.cli_rig import Cli
from tests.pci.fake_host import FakeHost
from tests.validate.validate_rig import make_check
from vfiodpa.errors import NoDevice, StateError, UsageError, VfiodpaError
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_net import NetStatus
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.benchfile import DEVICE_KEYS, HOOK_KEYS, find_device, load_bench
from vfiodpa.validate.hooks import NO_HOOKS, Hooks, of_wire
from vfiodpa.validate.kernel_wire import KernelWire
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.target import open_target
from vfiodpa.validate.verdict import Verdict

TOP = Path(__file__).parents[2]
SAMPLE = TOP / "docs/how-to/bench.toml"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bench.toml"


def test_the_sample_of_the_how_to() -> None:
    bench = load_bench(SAMPLE)
    card = bench["card"]
    assert list(bench) == ["card", "other-firmware", "software"]
    assert (card.device, card.wire, card.profile, card.packed) == ("0000:3b:00.2", "ens5f1", "1.2", False)
    assert [event for event in ("link", "mtu", "announce", "fault", "power") if card.hooks.has(event)] == [
        "link",
        "mtu",
        "fault",
        "power",
    ]
    assert bench["other-firmware"].packed
    assert bench["software"].hooks == NO_HOOKS


def test_the_how_to_names_every_key() -> None:
    text = (TOP / "docs/how-to/validate-in-a-lab.md").read_text()
    assert [key for key in (*DEVICE_KEYS, *HOOK_KEYS) if f"`{key}`" not in text] == []


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[device.card]\n", 1, "the file has no key 'device'"),
        (
            "\n[devices.card]\ndevice = 'soft'\nwires = 'x'\n",
            4,
            r"\[devices.card\] has no key 'wires' .*one of device, ",
        ),
        ("[devices.a]\ndevice='soft'\n[devices.b]\ndevice='soft'\nmtu=3\n", 5, r"\[devices.b\] has no key 'mtu'"),
        ("[devices.a]\ndevice='soft'\n[devices.a.hooks]\nlink='x'\n", 4, r"\[devices.a.hooks\] has no key 'link'"),
        ("[devices]\na = {device = 'soft', x = 1}\n", 2, r"\[devices.a\] has no key 'x'"),
        ("[devices.a]\nwire = 'x'\n", 1, "says not which device"),
        ("[devices.a]\ndevice = 3\n", 2, "device must be a string, not 3"),
        ("[devices.a]\ndevice = 'soft'\npacked = 'yes'\n", 3, "packed must be true or false"),
        ("[devices.a]\ndevice = 'soft'\nhook_timeout = 0\n", 3, "hook_timeout must be a number"),
        ("[devices.a]\ndevice = 'soft'\nprofile = '9.9'\n", 3, "there is no profile 9.9"),
        ("[devices.a]\ndevice = 'soft'\nhooks = 'x'\n", 3, "hooks must be a table"),
        ("[devices.a]\ndevice = 'soft'\n[devices.a.hooks]\nlink_up = 'x'\n", 4, "link_down and link_up go together"),
        ("[devices.a]\ndevice = 'soft'\n[devices.a.hooks]\nmtu = ''\n", 4, "mtu must be a command"),
        ("[devices.a]\ndevice = 'soft'\n[devices.a.hooks]\nmtu = [1]\n", 4, "mtu must be a command"),
        ("[devices.a]\ndevice = 'soft'\n[devices.a.hooks]\nmtu = \"'\"\n", 4, "mtu: No closing quotation"),
        ("devices = 3\n", 1, "devices must be a table"),
        ("[devices]\na = 3\n", 2, "devices.a must be a table"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(path: Path, text: str, line: int, what: str) -> None:
    path.write_text(text)
    with pytest.raises(UsageError, match=what) as caught:
        load_bench(path)
    assert caught.value.device == f"{path}:{line}"


def test_what_is_no_toml(path: Path) -> None:
    path.write_text("[devices.a]\ndevice = \n")
    with pytest.raises(UsageError, match=r"is no TOML .*line 2"):
        load_bench(path)
    with pytest.raises(UsageError, match="ENOENT"):
        load_bench(path.with_name("x"))


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"no device 'cards' .*it has card, other-firmware, software"):
        find_device(load_bench(SAMPLE), "cards", SAMPLE)


# Hooks


def hooks(path: Path, **commands: object) -> Hooks:
    lines = [f"{name} = {command!r}" for name, command in commands.items()]
    path.write_text("\n".join(["[devices.a]", "device = 'soft'", "hook_timeout = 0.5", "[devices.a.hooks]", *lines]))
    return load_bench(path)["a"].hooks


def test_commands_are_run_with_their_values(path: Path, tmp_path: Path) -> None:
    made = hooks(
        path,
        mtu=f"touch {tmp_path}/mtu-{{mtu}}",
        link_down=["touch", f"{tmp_path}/down; x"],
        link_up=f"touch {tmp_path}/up",
    )
    assert made.mtu and made.link
    made.mtu(9000)
    made.link(False)
    made.link(True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bench.toml", "down; x", "mtu-9000", "up"]


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["sh", "-c", "echo no such port >&2; exit 3"], "hook fault failed .*exit status 3: no such port"),
        ("/no/such/program", "hook fault: ENOENT"),
        ("sleep 5", "hook fault: no end within 0.5 s"),
    ],
)
def test_a_command_that_fails_says_how(path: Path, command: object, what: str) -> None:
    made = hooks(path, fault=command)
    assert made.fault
    begin = time.monotonic()
    with pytest.raises(VfiodpaError, match=what):
        made.fault()
    assert time.monotonic() - begin < 4


def test_a_check_gets_its_event() -> None:
    def link(bench: Bench) -> None:
        bench.start()
        for up in (False, True):
            bench.set_link(up)
            bench.must(bool(bench.device.net.status & NetStatus.LINK_UP) == up, "the link status does not follow")
        bench.set_mtu(2000)
        bench.must(bench.device.net.mtu == 2000, "nor does the MTU")

    def fails(bench: Bench) -> None:
        bench.start(int(Feature.NET_GUEST_ANNOUNCE | Feature.NET_CTRL_VQ))
        bench.ask_to_announce()
        bench.must(bench.device.net.status & NetStatus.ANNOUNCE, "it does not ask")
        bench.make_it_fail()
        bench.must(bench.device.status & DeviceStatus.NEEDS_RESET, "it has not failed")

    with open_target("soft") as target, Runner(target.function, target.wire, hooks=target.hooks) as runner:
        for run in (link, fails):
            outcome = runner.run_one(make_check(run, hook="link"))
            assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_without_the_event_a_check_is_left_out() -> None:
    def link(bench: Bench) -> None:
        bench.set_link(False)

    with SoftFunction("soft:strict=off") as function, Runner(function) as runner:
        for check in (make_check(link, hook="link"), make_check(link)):
            outcome = runner.run_one(check)
            assert outcome.verdict is Verdict.SKIP
            assert outcome.reason == "it takes an event from outside that nobody makes here: link (--bench, hooks)"


def test_hooks_of_the_bench_file_come_first() -> None:
    with open_target("soft") as target:
        first = Hooks(link=print)
        both = first.over(target.hooks)
        assert (both.link, both.mtu) == (print, target.hooks.mtu)
        assert of_wire(target.wire).has("link")
    assert of_wire(None) == NO_HOOKS


def test_validate_takes_its_device_from_the_bench_file(cli: Cli, path: Path) -> None:
    path.write_text("[devices.a]\ndevice = 'soft:queues=3'\npacked = true\nprofile = '1.1'\n")
    run = cli("validate", "a", "--bench", str(path), "--clause", "P-COM-14", "-j").json
    assert (run["device"]["queues"], run["environment"]["rings"], run["profile"]) == (7, "packed", "1.1")


# The wire


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(NoDevice, match="there is no interface nosuch0"):
        KernelWire("nosuch0")


def test_the_interface_of_the_default_route_is_no_wire(tmp_path: Path) -> None:
    host = FakeHost.at(tmp_path)
    host.default_route("eth0")
    with pytest.raises(StateError, match="default route"):
        KernelWire("eth0", host)


def test_an_interface_sends_and_hears() -> None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        pytest.skip("no packet sockets without CAP_NET_RAW")
    frame = bytes(12) + b"\x88\xb5" + b"over the loopback interface" + bytes(30)
    with KernelWire("lo") as wire:
        wire.drain()
        wire.send(frame)
        assert frame in [one.frame for one in wire.drain(0.2)]
