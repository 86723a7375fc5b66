from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.soft.soft_rig import RING_BYTES, RINGS, Nic, Ring, StuckLib
from vfiodpa.errors import DeviceTimeout, IommuError, StateError
from vfiodpa.memory import Iova, Mapping
from vfiodpa.pci.function import DmaFault, IovaRange, Perm
from vfiodpa.soft.domain import SoftDomain
from vfiodpa.soft.function import SoftFunction

Make = Callable[[str], Nic]


@pytest.fixture
def memory() -> Iterator[Mapping]:
    with Mapping.create(0x10000) as mapping:
        yield mapping


@pytest.fixture
def domain() -> Iterator[SoftDomain]:
    one = SoftDomain()
    yield one
    one.close()


def test_ranges_follow_the_options() -> None:
    with SoftFunction("soft") as plain, SoftFunction("soft:iova=39") as narrow, SoftFunction("soft:msi_hole=on") as x86:
        assert plain.dma.iova_ranges == (IovaRange(0, (1 << 48) - 1),)
        assert narrow.dma.iova_ranges == (IovaRange(0, (1 << 39) - 1),)
        assert x86.dma.iova_ranges == (IovaRange(0, 0xFEDF_FFFF), IovaRange(0xFEF0_0000, (1 << 48) - 1))


def test_overlap_names_both_ranges(domain: SoftDomain, memory: Mapping) -> None:
    domain.map(Iova(0x4000), memory, 0, 0x2000)
    with pytest.raises(IommuError, match=r"\[0x5000, 0x6fff\].*overlaps \[0x4000, 0x5fff\]"):
        domain.map(Iova(0x5000), memory, 0, 0x2000)


@pytest.mark.parametrize(
    ("iova", "offset", "length", "says"),
    [
        (1 << 48, 0, 0x1000, "outside the I/O address ranges"),
        ((1 << 48) - 0x1000, 0, 0x2000, "outside the I/O address ranges"),
        (0x800, 0, 0x1000, "whole pages"),
        (0, 0x800, 0x1000, "whole pages"),
        (0, 0, 0x1001, "whole pages"),
        (0, 0, 0, "not inside"),
        (0, 0xF000, 0x2000, "not inside"),
        (0, -0x1000, 0x1000, "not inside"),
    ],
)
def test_bad_maps_are_refused(
    domain: SoftDomain, memory: Mapping, iova: int, offset: int, length: int, says: str
) -> None:
    with pytest.raises(IommuError, match=says):
        domain.map(Iova(iova), memory, offset, length)


def test_the_msi_hole_cannot_be_mapped(memory: Mapping) -> None:
    domain = SoftDomain(msi_hole=True)
    with pytest.raises(IommuError, match="0xfee00000"):
        domain.map(Iova(0xFEE0_0000), memory, 0, 0x1000)
    domain.close()


def test_closed_memory_cannot_be_mapped(domain: SoftDomain) -> None:
    memory = Mapping.create(0x1000)
    memory.close()
    with pytest.raises(IommuError, match="closed"):
        domain.map(Iova(0), memory)


def test_unmap_takes_back_exactly_one_map(domain: SoftDomain, memory: Mapping) -> None:
    domain.map(Iova(0), memory, 0, 0x2000)
    for iova, length in ((0, 0x1000), (0x1000, 0x1000), (0, 0x3000)):
        with pytest.raises(IommuError, match="ENOENT"):
            domain.unmap(Iova(iova), length)
    domain.unmap(Iova(0), 0x2000)
    domain.map(Iova(0), memory)


pages = st.tuples(st.integers(0, 15), st.integers(1, 8), st.booleans())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(steps=st.lists(pages, max_size=30))
def test_maps_never_overlap(memory: Mapping, steps: list[tuple[int, int, bool]]) -> None:
    domain, model = SoftDomain(), dict[int, int]()
    for page, count, unmap in steps:
        if unmap:
            works = model.get(page) == count
        else:
            works = all(page >= at + n or at >= page + count for at, n in model.items())
        try:
            if unmap:
                domain.unmap(Iova(page << 12), count << 12)
                del model[page]
            else:
                domain.map(Iova(page << 12), memory, 0, count << 12)
                model[page] = count
        except IommuError:
            assert not works
        else:
            assert works
    domain.close()


def test_what_is_not_mapped_is_a_fault_and_stops_the_nic(nic: Nic) -> None:
    nic.bring_up()
    tx = Ring(nic, 1)
    tx.buffers = 0x4000000  # far outside
    tx.offer(bytes(72))
    nic.bell(1)
    assert nic.wait_needs_reset()
    where = RINGS + RING_BYTES + 0x4000000
    assert f"queue 1: access to {where:#x} stopped by the IOMMU; last fault: READ" in nic.f.diagnose()
    (fault,) = nic.f.dma.faults()
    assert (fault.iova, fault.perm) == (where, Perm.READ)
    assert nic.f.dma.faults() == ()
    assert "last fault" in nic.f.diagnose()


def test_permissions_hold(nic: Nic) -> None:
    with Mapping.create(0x1000) as memory:
        nic.f.dma.map(Iova(RINGS + 0x100000), memory, perm=Perm.READ)
        nic.bring_up()
        rx, tx = Ring(nic, 0), Ring(nic, 1)
        rx.buffers = 0x100000
        rx.offer(bytes(256), writable=True)
        tx.offer(bytes(72))
        nic.bell(1)
        assert nic.wait_needs_reset()
        assert [fault.perm for fault in nic.f.dma.faults()] == [Perm.WRITE]
        nic.f.reset()
        nic.f.dma.unmap(Iova(RINGS + 0x100000), 0x1000)


def test_map_while_running_does_not_stop_the_queues(nic: Nic, memory: Mapping) -> None:
    nic.bring_up()
    tx = Ring(nic, 1)
    for i in range(20):
        nic.f.dma.map(Iova(0x1000_0000), memory)
        tx.offer(bytes(72))
        nic.bell(1)
        assert tx.wait_used(i + 1)
        nic.f.dma.unmap(Iova(0x1000_0000), memory.length)
    assert nic.f.diagnose() == ""


def test_unmapped_rings_are_not_reached(nic: Nic) -> None:
    nic.bring_up()
    tx = Ring(nic, 1)
    nic.f.dma.unmap(Iova(RINGS), nic.memory.length)
    tx.offer(bytes(72))
    nic.bell(1)
    assert not tx.wait_used(1, seconds=0.05)


def test_one_domain_serves_several_functions(domain: SoftDomain, memory: Mapping) -> None:
    with SoftFunction("soft", domain) as one, SoftFunction("soft", domain) as two:
        assert one.dma is two.dma is domain
        domain.map(Iova(0), memory)
    domain.unmap(Iova(0), memory.length)


def test_a_closed_domain_takes_nobody(memory: Mapping) -> None:
    domain = SoftDomain()
    domain.close()
    domain.close()
    with pytest.raises(StateError):
        domain.map(Iova(0), memory)
    with pytest.raises(StateError):
        SoftFunction("soft", domain)


def test_a_domain_closed_before_its_function_is_harmless(domain: SoftDomain, memory: Mapping) -> None:
    function = SoftFunction("soft", domain)
    domain.map(Iova(0), memory)
    domain.close()
    function.close()


def test_a_worker_that_does_not_rest_leaves_the_map_as_it_was(
    nic: Nic, memory: Mapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vfiodpa.soft.engine.lib", StuckLib())
        with pytest.raises(DeviceTimeout, match="does not come to rest"):
            nic.f.dma.map(Iova(0x1000_0000), memory)
    nic.f.dma.map(Iova(0x1000_0000), memory)
    nic.bring_up()


def test_faults_are_the_contracts_own_type() -> None:
    assert DmaFault(1, 2, Perm.READ).perm is Perm.READ
