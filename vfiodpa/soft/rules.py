"""What the specification demands of a driver: one table, each rule with its paragraph.

The software NIC raises ``DriverBreach`` for whatever breaks one, so that a driver bug shows in CI
and not on hardware. ``WRITE_RULES`` is checked before a write to the common configuration takes
effect; the other rules are named where the access is decoded.
"""

# ruff: noqa: ARG005  (every rule has the same signature, most need only one of the two)

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..errors import DriverBreach
from ..spec.features import Feature
from ..spec.virtio_pci import DeviceStatus
from ..spec.virtio_ring import PACKED_ALIGN, SPLIT_ALIGN, split_size_ok
from .state import CommonState

S = DeviceStatus


@dataclass(frozen=True, slots=True)
class Rule:
    """What a driver must (not) do, and where that is written."""

    ref: str
    text: str

    def breach(self, device: str, register: str, did: str) -> DriverBreach:
        """The error: names the register, what was done to it, and the clause."""
        return DriverBreach(f"{register}: {did}", device=device, cause=f"{self.ref}: {self.text}")


# fmt: off
WIDTH = Rule("virtio 1.3, 4.1.3.1", "a field is accessed with its own width, aligned; 64-bit ones as two 32-bit halves")
NOT_THERE = Rule("virtio 1.3, 4.1.4", "registers lie where the capabilities say")
READ_ONLY = Rule("virtio 1.3, 4.1.4.3.2", "the driver must not write read-only fields")
CONFIG_READ_ONLY = Rule("virtio 1.3, 5.1.4.1", "the device configuration is read-only to the driver")
NO_FIELD = Rule("virtio 1.3, 2.5.2", "the driver must check that a field's feature is offered before it accesses it")
NOTIFY = Rule("virtio 1.3, 4.1.5.2", "a doorbell is a 16-bit write of the queue's index to the queue's notify address")
NOTIFY_CONFIG = Rule("virtio 1.3, 4.1.5.2", "with NOTIF_CONFIG_DATA a doorbell carries queue_notif_config_data instead")
NOTIFY_DATA = Rule("virtio 1.3, 2.9", "with NOTIFICATION_DATA a doorbell is 32 bits: queue, next offset, wrap counter")
EARLY_BELL = Rule("virtio 1.3, 3.1.1", "no available-buffer notification before DRIVER_OK")
PCI_ACCESS = Rule("PCI 3.0, 6.1", "configuration space is accessed 8, 16 or 32 bits wide and aligned")
MEMORY_OFF = Rule("PCI 3.0, 6.2.2", "BARs answer only while Memory Space is enabled in the command register")
NO_BUS_MASTER = Rule("PCI 3.0, 6.2.2", "a device does no DMA unless Bus Master is enabled in the command register")
CFG_WINDOW = Rule("virtio 1.3, 4.1.4.9.2", "cap.length is 1, 2 or 4 and cap.offset a multiple of it")
MSIX_TABLE = Rule("PCI 3.0, 6.8.2", "the table belongs to who routes interrupts (PciFunction.set_irq)")
VENDOR = Rule("docs/reference/software-nic.md", "vendor registers of the software NIC")
IFCVF = Rule("vfiodpa/spec/ifcvf.py", "the LM block of an IFCVF device")
# fmt: on

_DRIVER_BITS = S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK | S.DRIVER_OK | S.FAILED


@dataclass(frozen=True, slots=True)
class WriteRule(Rule):
    """A rule of one register: ``broken(state, value)`` says whether this write breaks it."""

    did: str
    broken: Callable[[CommonState, int], bool]
    harmless: bool = False  # hardware knows what to do with it


def _lacks(value: int, bits: DeviceStatus) -> bool:
    return bool(bits & ~value)


def _not_offered(state: CommonState, value: int) -> bool:
    select = state.driver_select
    if select >= len(state.driver_words):
        return bool(value)
    return bool(value << 32 * select & ~int(state.offered))  # int: ~ of a flag only covers bits that have a name


def _has(state: CommonState, feature: Feature) -> bool:
    return bool(state.status & S.FEATURES_OK and state.driver_features & feature)


def _misaligned(state: CommonState) -> bool:
    queue = state.queue
    if queue is None:
        return False
    parts = (queue.desc, queue.driver, queue.device)
    aligns = PACKED_ALIGN if state.packed else SPLIT_ALIGN
    return any(address % align for address, align in zip(parts, aligns, strict=True))


_COMMON = "virtio 1.3, 4.1.4.3.2"
_INIT = "virtio 1.3, 3.1.1"
_STATUS = "virtio 1.3, 2.1.1"

_NO_QUEUE = WriteRule(
    "virtio 1.3, 4.1.5.1.3", "a queue whose queue_size reads 0 is not there", "written with no such queue selected",
    lambda s, v: s.queue is None,
)  # fmt: skip
_TOO_EARLY = WriteRule(
    _INIT, "queues are set up after FEATURES_OK (step 7)", "written before FEATURES_OK",
    lambda s, v: not s.status & S.FEATURES_OK,
)  # fmt: skip
_ENABLED = WriteRule(
    _COMMON, "the other fields are set before queue_enable", "written while the queue is enabled",
    lambda s, v: s.queue is not None and s.queue.enabled,
)  # fmt: skip
_SETUP = (_NO_QUEUE, _TOO_EARLY, _ENABLED)

# fmt: off
WRITE_RULES: Mapping[str, tuple[WriteRule, ...]] = {
    "driver_feature": (
        WriteRule(_INIT, "features are negotiated after DRIVER (step 4)", "written before DRIVER",
                  lambda s, v: not s.status & S.DRIVER),
        WriteRule(_INIT, "no new features after FEATURES_OK (step 5)", "written after FEATURES_OK",
                  lambda s, v: bool(s.status & S.FEATURES_OK)),
        WriteRule("virtio 1.3, 2.2.1", "no feature is accepted that the device did not offer",
                  "has bits that are not offered", _not_offered, harmless=True),
    ),
    "device_status": (
        WriteRule(_COMMON, "after a reset the driver waits until device_status reads 0",
                  "written again before it was read as 0",
                  lambda s, v: v != 0 and s.reset_unread),
        WriteRule(_STATUS, "the driver must not clear a status bit (0 resets the device)", "bits cleared",
                  lambda s, v: v != 0 and _lacks(v, s.status & _DRIVER_BITS)),
        WriteRule("virtio 1.3, 2.1", "NEEDS_RESET belongs to the device", "NEEDS_RESET written",
                  lambda s, v: bool(v & S.NEEDS_RESET & ~s.status)),
        WriteRule("virtio 1.3, 2.1", "only defined bits", "unknown bits written",
                  lambda s, v: bool(v & ~(_DRIVER_BITS | S.NEEDS_RESET | S.SUSPEND))),
        WriteRule("virtio 1.4, 3.5", "SUSPEND is set while DRIVER_OK is, with VIRTIO_F_SUSPEND", "SUSPEND too early",
                  lambda s, v: bool(v & S.SUSPEND & ~s.status) and not (s.status & S.DRIVER_OK
                                                                        and _has(s, Feature.SUSPEND)),
                  harmless=True),
        WriteRule(_STATUS, "after FAILED the device is reset before another try", "bits set after FAILED",
                  lambda s, v: bool(s.status & S.FAILED) and bool(v & ~s.status & _DRIVER_BITS)),
        WriteRule(_INIT, "ACKNOWLEDGE comes before DRIVER (steps 2 and 3)", "DRIVER without ACKNOWLEDGE",
                  lambda s, v: bool(v & S.DRIVER) and not v & S.ACKNOWLEDGE),
        WriteRule(_INIT, "DRIVER comes before FEATURES_OK (steps 3 to 5)", "FEATURES_OK without DRIVER",
                  lambda s, v: bool(v & S.FEATURES_OK) and not s.status & S.DRIVER),
        WriteRule(_INIT, "FEATURES_OK comes before DRIVER_OK (steps 5 to 8)", "DRIVER_OK without FEATURES_OK",
                  lambda s, v: bool(v & S.DRIVER_OK) and not s.status & S.FEATURES_OK),
        WriteRule(_INIT, "device_status is read back after FEATURES_OK (step 6)", "DRIVER_OK before the re-read",
                  lambda s, v: bool(v & S.DRIVER_OK) and not s.features_ok_read),
    ),
    "queue_size": (
        *_SETUP,
        WriteRule(_COMMON, "a split queue's size is a power of two", "not a power of two",
                  lambda s, v: not s.packed and not split_size_ok(v)),
        WriteRule(_COMMON, "the driver must not write 0", "0 entries", lambda s, v: v == 0),
        WriteRule("virtio 1.3, 4.1.4.3", "queue_size on reset is the largest size", "more than the device supports",
                  lambda s, v: s.queue is not None and v > s.queue.max_size),
    ),
    "queue_desc": _SETUP,
    "queue_driver": _SETUP,
    "queue_device": _SETUP,
    "queue_msix_vector": (_NO_QUEUE,),
    "queue_enable": (
        _NO_QUEUE,
        _TOO_EARLY,
        WriteRule(_COMMON, "the driver writes nothing but 1", "not 1", lambda s, v: v != 1),
        WriteRule(_COMMON, "a queue is enabled once, until it is reset", "enabled twice",
                  lambda s, v: s.queue is not None and s.queue.enabled),
        WriteRule(_COMMON, "a queue reset is complete when queue_reset reads 0", "enabled before queue_reset was read",
                  lambda s, v: s.queue is not None and s.queue.reset_unread),
        WriteRule(_COMMON, "the other fields are set before queue_enable", "enabled before all addresses were written",
                  lambda s, v: s.queue is not None and bool(s.queue.unwritten)),
        WriteRule("virtio 1.3, 2.7 and 2.8",
                  "descriptors are 16-, available ring 2-, used ring and event areas 4-byte aligned",
                  "enabled with unaligned rings", lambda s, v: _misaligned(s)),
    ),
    "queue_reset": (
        _NO_QUEUE,
        WriteRule("virtio 1.3, 6", "queue_reset needs VIRTIO_F_RING_RESET", "written without RING_RESET negotiated",
                  lambda s, v: not _has(s, Feature.RING_RESET)),
        WriteRule("virtio 1.3, 2.6.1", "the driver writes nothing but 1", "not 1", lambda s, v: v != 1),
    ),
}
# fmt: on


def _unless_stop(rule: WriteRule) -> WriteRule:
    return replace(rule, broken=lambda s, v: v != 0 and rule.broken(s, v))


# IFCVF: 0 stops a queue at any time.
STOP_BY_ENABLE: Mapping[str, tuple[WriteRule, ...]] = {
    **WRITE_RULES,
    "queue_enable": (_NO_QUEUE, *(_unless_stop(rule) for rule in WRITE_RULES["queue_enable"])),
}
