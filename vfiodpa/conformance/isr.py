"""The ISR status (P-ISR), and configuration changes that nobody wants to hear of (P-CCN). Ref: virtio 1.3, 4.1.4.5"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.pci import MSIX_ENABLE, ConfigHeader, Status
from ..spec.virtio_pci import NO_VECTOR, CfgType, IsrStatus
from ..validate.bench import RX, TX, Bench
from ..validate.check import check
from ..validate.link import HOOK_S, link_down
from ..validate.structures import msix_of, of_type
from ..validate.verdict import NotApplicable

SOON_S = 0.5
MANY = 8  # vectors that are listened to


def _start_without_msix(bench: Bench) -> None:
    """A running device that has no vector. Raises ``NotApplicable`` where MSI-X stays on."""
    bench.negotiate()
    bench.function.msix_off()
    for queue in (RX, TX):
        bench.add_queue(queue, vector=NO_VECTOR)
    bench.device.go()
    if bench.function.vectors and msix_of(bench.function).control & MSIX_ENABLE:
        raise NotApplicable("MSI-X cannot be switched off here")


def _transmit(bench: Bench) -> None:
    bench.send(bench.ring(TX))
    bench.wait_used(bench.ring(TX))


def _await_isr(bench: Bench) -> IsrStatus:
    """Read it, which clears it, until something is there."""
    found = bench.wait(lambda: bench.device.isr.isr, "an ISR bit")
    return IsrStatus(found)


@check("P-ISR-1")
def there_is_an_isr_status(bench: Bench) -> None:
    """There is an ISR status structure."""
    bench.must(of_type(bench.function, CfgType.ISR), "there is no ISR capability")


@check("P-ISR-2", hook="link", features=Feature.NET_STATUS, deadline=HOOK_S)
def the_configuration_bit_comes_before_its_notification(bench: Bench) -> None:
    """When a configuration change is notified, its ISR bit is set, with MSI-X as well."""
    if not bench.function.vectors:
        raise NotApplicable("there is no vector to hear of a configuration change by")
    bench.negotiate(Feature.NET_STATUS)
    bench.device.common.config_msix_vector = 0
    heard = bench.interrupt(0)
    bench.device.go()
    int(bench.device.isr.isr)
    with link_down(bench):
        bench.must(heard.fired(), "the link went down, but no configuration change was notified")
        seen = IsrStatus(bench.device.isr.isr)
        bench.must(seen & IsrStatus.CONFIG, f"a configuration change was notified, but the ISR reads {int(seen):#x}")


@check("P-ISR-3")
def the_queue_bit_without_msix(bench: Bench) -> None:
    """Without MSI-X, a used buffer sets the queue bit."""
    _start_without_msix(bench)
    _transmit(bench)
    seen = _await_isr(bench)
    bench.must(seen & IsrStatus.QUEUE, f"a buffer was used, and the ISR reads {int(seen):#x}")


@check("P-ISR-4")
def interrupt_status_without_msix(bench: Bench) -> None:
    """Without MSI-X, Interrupt Status in the PCI status register is set while an ISR bit is."""
    _start_without_msix(bench)
    header = ConfigHeader(bench.function.config)
    int(bench.device.isr.isr)
    for _ in range(3):
        _transmit(bench)
        pending = bench.wait(lambda: header.status & Status.INTERRUPT, "Interrupt Status", SOON_S)
        isr = int(bench.device.isr.isr)
        bench.must(pending or not isr, f"the ISR reads {isr:#x}, Interrupt Status was 0")
        bench.must(isr, "Interrupt Status is set, the ISR reads 0" if pending else "no ISR bit was set at all")
        pending = bool(header.status & Status.INTERRUPT)
        isr = int(bench.device.isr.isr)
        bench.must(pending == bool(isr), f"Interrupt Status is {int(pending)}, and the ISR reads {isr:#x} behind it")


@check("P-ISR-5")
def reading_clears_the_isr(bench: Bench) -> None:
    """What was read from the ISR status is 0 at the next look."""
    _start_without_msix(bench)
    _transmit(bench)
    first = _await_isr(bench)
    bench.must(first, "a buffer was used, and the ISR reads 0")
    again = int(bench.device.isr.isr)
    bench.must(again == 0, f"the ISR reads {int(first):#x}, and {again:#x} right after")


@check("P-CCN-1", hook="link", features=Feature.NET_STATUS, deadline=HOOK_S)
def a_change_without_a_vector(bench: Bench) -> None:
    """With MSI-X and no vector for it, a configuration change makes no interrupt."""
    if not bench.function.vectors:
        raise NotApplicable("the device has no MSI-X vectors")
    bench.start(Feature.NET_STATUS)
    heard = [bench.interrupt(vector) for vector in range(min(bench.function.vectors, MANY))]
    bench.device.common.config_msix_vector = NO_VECTOR
    for one in heard:
        one.fired(0)
    with link_down(bench):
        pass
    for one in heard:
        bench.must(
            not one.fired(bench.silence / len(heard)), f"the link went down and up, and vector {one.vector} fired"
        )
