"""Vectors: one each when there are enough, and no user disturbs another."""

from __future__ import annotations

import pytest

from tests.drivers.fake_function import FakeFunction
from vfiodpa.drivers.interrupts import CONFIG, Interrupts, pairs_for
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.errors import Unsupported, UsageError
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_pci import NO_VECTOR


@pytest.mark.parametrize(
    ("vectors", "config", "first", "second"),
    [(9, 0, 1, 2), (3, 0, 1, 2), (2, 0, 1, 1), (1, 0, 0, 0), (0, NO_VECTOR, NO_VECTOR, NO_VECTOR)],
)
def test_who_gets_which_vector(vectors: int, config: int, first: int, second: int) -> None:
    irqs = Interrupts(FakeFunction(vectors=vectors))
    assert (irqs.vector_of(CONFIG), irqs.vector_of(0), irqs.vector_of(1)) == (config, first, second)


@pytest.mark.parametrize(("vectors", "pairs"), [(0, 4), (1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (9, 4), (64, 4)])
def test_pairs_that_the_vectors_allow(vectors: int, pairs: int) -> None:
    assert pairs_for(vectors, 4) == pairs


def test_interrupts_are_set_one_by_one_before_and_after_start() -> None:
    function = FakeFunction(vectors=3)
    nic = VirtioPci(function)
    nic.set_queue_irq(0, 10)
    nic.negotiate(Feature.VERSION_1)
    nic.start()
    nic.set_queue_irq(1, 11)
    nic.set_config_irq(12)
    assert function.irqs == {1: 10, 2: 11, 0: 12}
    nic.set_queue_irq(0, None)
    assert function.irqs == {1: None, 2: 11, 0: 12}
    assert (nic.vector_of(0), nic.vector_of(1)) == (1, 2)


def test_a_queue_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no queue 2"):
        VirtioPci(FakeFunction()).set_queue_irq(2, 10)


def test_a_shared_vector_takes_one_eventfd_only() -> None:
    function = FakeFunction(vectors=2)
    irqs = Interrupts(function)
    irqs.set(0, 10)
    irqs.set(1, 10)
    with pytest.raises(Unsupported, match="shares vector 1"):
        irqs.set(1, 11)
    irqs.set(0, None)
    assert function.irqs == {1: 10}  # queue 1 still has it
    irqs.set(1, None)
    assert function.irqs == {1: None}


def test_without_vectors_nobody_can_be_notified() -> None:
    irqs = Interrupts(FakeFunction(vectors=0))
    with pytest.raises(Unsupported, match="no MSI-X vectors"):
        irqs.set(0, 10)
    irqs.set(0, None)
