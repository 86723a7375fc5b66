"""The parts of hwtests/rig that need no virtual machine."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hwtests.peers.program import ProgramError
from hwtests.rig import results
from hwtests.rig.dpdk import drivers
from hwtests.rig.initramfs import INIT
from hwtests.rig.machine import Iommu, Machine
from hwtests.rig.nic import Nic
from hwtests.rig.qmp import Qmp
from hwtests.rig.variants import FIRST, PEER, VARIANTS
from hwtests.rig.vm import script

Server = Callable[[bytes], bytes]


def test_nic_words() -> None:
    nic = Nic.parse("packed+page-per-vq+mq4+wire2+hotplug+vectors3+mtu1400")
    assert nic == Nic(packed=True, page_per_vq=True, pairs=4, wire=2, hotplug=True, vectors=3, mtu=1400)
    assert Nic.parse("split") == Nic()
    assert Nic.parse("kernel+wire0") == Nic(vfio=False, wire=0)


def test_unknown_nic_word() -> None:
    with pytest.raises(ValueError, match="cannot be fast"):
        Nic.parse("split+fast")


def test_addresses_follow_the_places() -> None:
    machine = Machine(nics=(Nic(), Nic(vfio=False), Nic(twin=True), Nic(hotplug=True), Nic(hotplug=True)))
    assert [machine.address(index) for index in range(5)] == [
        "0000:00:05.0",
        "0000:00:06.0",
        "0000:00:06.1",
        "0000:01:00.0",
        "0000:02:00.0",
    ]
    assert machine.addresses(vfio=False) == ["0000:00:06.0"]


def test_several_pairs_want_taps_in_a_namespace() -> None:
    plain, several = Machine(), Machine(nics=(Nic(pairs=2, wire=3), Nic(vfio=False, wire=3)))
    assert plain.wrapped(["qemu"]) == ["qemu"]
    wrapped = several.wrapped(["qemu"])
    assert wrapped[0] == "unshare"
    assert wrapped[-1] == "qemu"
    assert "ip link set nic0 master wire3 up" in wrapped[5]
    assert not any(word.startswith("hubport") for word in several.argv(Path("/s")))


@pytest.mark.parametrize("iommu", Iommu)
def test_each_iommu_is_one_device_at_most(iommu: Iommu) -> None:
    devices = [word for word in Machine(nics=(), iommu=iommu).argv(Path("/s")) if "iommu" in word]
    assert len(devices) == (iommu is not Iommu.NONE)


def test_every_variant_has_the_nics_that_its_suites_name() -> None:
    for variant in VARIANTS:
        assert variant.machine.address(0) == FIRST
        assert variant.machine.address(1) == PEER
        assert variant.machine.nics[0].vfio
        assert not variant.machine.nics[1].vfio
        assert len({suite.name for suite in variant.suites}) == len(variant.suites)


def test_a_job_quotes_its_words() -> None:
    assert script(["echo", "a b", "$HOME"], {"X": "1 2"}).splitlines()[::2] == [
        "export X='1 2'",
        "exec echo 'a b' '$HOME'",
    ]


def test_testpmd_finds_few_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those for virtio-user, each by every name that it has, and no other."""
    directory = tmp_path / "lib" / "x86_64-linux-gnu" / "dpdk" / "pmds-23.0"
    directory.mkdir(parents=True)
    for name in ("librte_net_virtio.so.23", "librte_mempool_ring.so.23", "librte_net_null.so.23"):
        (directory / f"{name}.0").write_bytes(Path("/bin/true").read_bytes())
        (directory / name).symlink_to(f"{name}.0")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "dpdk-testpmd").symlink_to("/bin/true")
    assert drivers(tmp_path / "lib") == (
        str(directory),
        [f"librte_{name}.so.23{end}" for name in ("mempool_ring", "net_virtio") for end in ("", ".0")],
    )
    assert drivers(tmp_path) == ("", [])


def test_init_is_a_script() -> None:
    assert os.system(f"sh -n {INIT}") == 0


def test_results(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        "<testsuites><testsuite><testcase classname='hwtests.vfio.test_a' name='good'/>"
        "<testcase classname='c' name='bad'><failure message='m'>why\nwhere</failure></testcase>"
        "<testcase classname='c' name='left'><skipped message='no wire'/></testcase></testsuite></testsuites>"
    )
    assert results.read(path) == [
        results.Case("vfio.test_a.good", "passed"),
        results.Case("c.bad", "failed", "why\nwhere"),
        results.Case("c.left", "skipped", "no wire"),
    ]


def test_no_results(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"a\.xml: no results"):
        results.read(tmp_path / "a.xml")


@pytest.fixture
def monitor() -> Iterator[Callable[[list[bytes]], Qmp]]:
    """Makes a Qmp whose monitor sends, for each command, the next of the given bytes."""
    threads: list[threading.Thread] = []
    ours: list[Qmp] = []

    def make(answers: list[bytes]) -> Qmp:
        near, far = socket.socketpair()
        thread = threading.Thread(target=_monitor, args=(far, answers), daemon=True)
        thread.start()
        threads.append(thread)
        ours.append(Qmp(near.detach()))
        return ours[-1]

    yield make
    for qmp in ours:
        qmp.close()
    for thread in threads:
        thread.join(5)


def _monitor(far: socket.socket, answers: list[bytes]) -> None:
    with far, far.makefile("rb") as lines:
        for answer in answers:
            line = next(line for line in lines if line.startswith(b"{"))
            number = json.dumps(json.loads(line)["id"]).encode()
            far.sendall(answer.replace(b"ID", number))


def test_monitor_skips_what_was_cut(monitor: Callable[[list[bytes]], Any]) -> None:
    greeting = b'rsion": {}}}\n{"QMP": {}}\n{"error": {"desc": "JSON parse error"}}\n{"return": {}, "id": ID}\n'
    qmp = monitor([greeting, b'{"return": [1], "id": ID}\n'])
    assert qmp.execute("query-pci") == [1]


def test_monitor_refuses(monitor: Callable[[list[bytes]], Any]) -> None:
    qmp = monitor([b'{"error": {"desc": "again"}, "id": ID}\n', b'{"error": {"desc": "no such NIC"}, "id": ID}\n'])
    with pytest.raises(ProgramError, match=r"refuses device_del.*no such NIC"):
        qmp.execute("device_del", id="nic9")


def test_monitor_keeps_events_that_come_early(monitor: Callable[[list[bytes]], Any]) -> None:
    early = (
        b'{"event": "A", "data": {"device": "x"}}\n{"event": "A", "data": {"device": "y"}}\n{"return": {}, "id": ID}\n'
    )
    qmp = monitor([b'{"return": {}, "id": ID}\n', early])
    qmp.execute("stop")
    assert qmp.wait_event("A", device="y")["data"] == {"device": "y"}
    assert qmp.wait_event("A", device="x")["data"] == {"device": "x"}
    with pytest.raises(ProgramError, match=r"closed|event A"):
        qmp.wait_event("A", timeout=0.2)
