"""The common configuration structure: how its registers behave.

Ref: virtio 1.3, section 4.1.4.3; initialisation 3.1.1; queue reset 2.6.1.
A write is first held against ``rules.WRITE_RULES``; what is left is legal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from ..errors import DriverBreach
from ..registers import RegisterBlock
from ..spec.features import Feature, names, unmet
from ..spec.virtio_pci import NO_VECTOR, CommonCfg, DeviceStatus
from . import rules
from .state import CommonState, Queue

log = logging.getLogger(__name__)

_LOW = 0xFFFF_FFFF


class Behind(Protocol):
    """What the registers set in motion. A hook that raises leaves the register as it was."""

    def negotiated(self, features: Feature) -> None: ...

    def go(self) -> None: ...

    def suspend(self) -> None: ...

    def resume(self) -> None: ...

    def device_reset(self) -> None: ...

    def queue_on(self, queue: Queue) -> None: ...

    def queue_off(self, queue: Queue) -> None: ...

    def vectors_changed(self) -> None: ...

    def is_broken(self) -> bool: ...

    def bus_master(self) -> bool: ...

    def generation(self) -> int: ...


class Common:
    """``CommonCfg`` of the software NIC (a ``Model``)."""

    block: type[RegisterBlock] = CommonCfg
    read_only = rules.READ_ONLY
    write_rules = rules.WRITE_RULES

    def __init__(self, device: str, state: CommonState, behind: Behind, *, strict: bool = True) -> None:
        """Not ``strict``: writes that hardware takes in its own way are no breach."""
        self.device = device
        self.strict = strict
        self.state = state
        self.behind = behind

    # Reading

    def load(self, name: str, index: int) -> int:
        state, queue = self.state, self.state.queue
        if name in ("device_status", "queue_reset"):
            return self._load_status() if name == "device_status" else self._load_queue_reset()
        if name == "queue_notif_config_data":
            return (
                state.notification(queue.index) if queue and Feature.NOTIF_CONFIG_DATA in state.driver_features else 0
            )
        if name.startswith("queue_") and name != "queue_select":
            return _queue_field(queue, name, index)
        simple = {
            "device_feature_select": state.device_select,
            "driver_feature_select": state.driver_select,
            "config_msix_vector": state.config_vector,
            "num_queues": state.admin_index,
            "queue_select": state.queue_select,
        }
        if name in simple:
            return simple[name]
        if name == "device_feature":
            return _word(state.offered, state.device_select)
        if name == "driver_feature":
            return _word(state.driver_features, state.driver_select)
        if name == "admin_queue_index":
            return state.admin_index if state.admin else 0
        return self.behind.generation() if name == "config_generation" else state.admin

    def _load_status(self) -> int:
        state = self.state
        if state.status and self.behind.is_broken():
            state.status |= DeviceStatus.NEEDS_RESET
        state.reset_unread = False
        state.features_ok_read = bool(state.status & DeviceStatus.FEATURES_OK)
        return int(state.status)

    def _load_queue_reset(self) -> int:
        if self.state.queue:
            self.state.queue.reset_unread = False
        return 0  # the reset is done before the write returns

    # Writing

    def store(self, name: str, index: int, value: int) -> None:
        self._check(name, value)
        self._STORE[name](self, value, name, index)

    def _check(self, name: str, value: int) -> None:
        for rule in self.write_rules.get(name, ()):
            if rule.broken(self.state, value) and (self.strict or not rule.harmless):
                raise rule.breach(
                    self.device, f"CommonCfg.{name}", f"{rule.did} (value {value:#x}, {self._where(name)})"
                )

    def _where(self, name: str) -> str:
        if name.startswith("queue_"):
            return f"queue {self.state.queue_select}"
        return f"status {self.state.status.name or 0}"

    def _select(self, value: int, name: str, _index: int) -> None:
        attribute = {"device_feature_select": "device_select", "driver_feature_select": "driver_select"}.get(name, name)
        setattr(self.state, attribute, value)

    def _driver_feature(self, value: int, _name: str, _index: int) -> None:
        if self.state.driver_select < len(self.state.driver_words):
            offered = _word(self.state.offered, self.state.driver_select)
            self.state.driver_words[self.state.driver_select] = value & offered  # others do not stick (4.1.4.3.1)

    def _vector(self, value: int, name: str, _index: int) -> None:
        """A vector that the function does not have reads back as NO_VECTOR (4.1.5.1.2.1)."""
        vector = value if value < self.state.vectors else NO_VECTOR
        owner, attribute = (self.state, "config_vector") if name == "config_msix_vector" else (self._queue(), "vector")
        before = getattr(owner, attribute)
        setattr(owner, attribute, vector)
        try:
            self.behind.vectors_changed()
        except Exception:
            setattr(owner, attribute, before)
            raise

    def _status(self, value: int, _name: str, _index: int) -> None:
        if not value:
            self.reset()
            return
        wanted = DeviceStatus(self._suspension(value)) | self.state.status & DeviceStatus.NEEDS_RESET
        added = wanted & ~self.state.status
        if added & DeviceStatus.FEATURES_OK and not self.accept_features():
            wanted &= ~DeviceStatus.FEATURES_OK
        if added & DeviceStatus.DRIVER_OK:
            self._go()
        self.state.status = wanted
        if added & DeviceStatus.FEATURES_OK:
            self.state.features_ok_read = False

    def _suspension(self, value: int) -> int:
        """See to SUSPEND (virtio 1.4, 3.5); returns the other bits, with it as it is now."""
        state, suspended, going = self.state, DeviceStatus.SUSPEND, DeviceStatus.DRIVER_OK
        if state.status & suspended and value & going:
            self.behind.resume()
            state.status = state.status & ~suspended | going
        elif value & suspended and state.status & going and state.driver_features & Feature.SUSPEND:
            self.behind.suspend()
            state.status = state.status & ~going | suspended
            value &= ~int(going)
        return value & ~int(suspended) | int(state.status & suspended)

    def reset(self) -> None:
        """Device reset (2.4); it is complete on return."""
        self.behind.device_reset()
        self.state.clear()
        self.state.reset_unread = True
        self.behind.vectors_changed()

    def accept_features(self) -> bool:
        """FEATURES_OK stays unset for a set that the device cannot work with (2.2.2)."""
        features = self.state.driver_features
        lacking = unmet(features)
        self.state.refusal = ""
        if not features & Feature.VERSION_1:
            self.state.refusal = "features refused: VERSION_1 was not accepted and there is no legacy interface"
        elif lacking:
            parts = (f"{names(bit)[0]} needs {' or '.join(names(needs[0]))}" for bit, needs in lacking.items())
            self.state.refusal = "features refused: " + ", ".join(parts)
        if self.state.refusal:
            log.info("%s: %s", self.device, self.state.refusal)
            return False
        self.behind.negotiated(features)
        return True

    def _go(self) -> None:
        if not self.behind.bus_master():
            raise self._breach(rules.NO_BUS_MASTER, "device_status", "DRIVER_OK set without Bus Master")
        self.behind.go()

    def _breach(self, rule: rules.Rule, register: str, did: str) -> DriverBreach:
        return rule.breach(self.device, f"CommonCfg.{register}", did)

    def _queue(self) -> Queue:
        """The selected queue, once the rules have made sure that it is there."""
        return self.state.queues[self.state.queue_select]

    def _queue_size(self, value: int, _name: str, _index: int) -> None:
        self._queue().size = value

    def _address(self, value: int, name: str, half: int) -> None:
        queue, attribute = self._queue(), name.removeprefix("queue_")
        kept = getattr(queue, attribute) & _LOW << 32 * (1 - half)
        setattr(queue, attribute, kept | value << 32 * half)
        queue.unwritten.discard((name, half))

    def stop_queue(self, queue: Queue) -> None:
        """0 was written to queue_enable: the rules do not let that happen."""

    def _queue_enable(self, value: int, _name: str, _index: int) -> None:
        queue = self._queue()
        if not value:
            self.stop_queue(queue)
            return
        self.behind.queue_on(queue)
        queue.enabled = True

    def _queue_reset(self, _value: int, _name: str, _index: int) -> None:
        queue = self._queue()
        self.behind.queue_off(queue)
        queue.clear()
        queue.reset_unread = True
        self.behind.vectors_changed()

    _STORE: dict[str, Callable[[Common, int, str, int], None]] = {
        "device_feature_select": _select,
        "driver_feature_select": _select,
        "queue_select": _select,
        "driver_feature": _driver_feature,
        "config_msix_vector": _vector,
        "queue_msix_vector": _vector,
        "device_status": _status,
        "queue_size": _queue_size,
        "queue_desc": _address,
        "queue_driver": _address,
        "queue_device": _address,
        "queue_enable": _queue_enable,
        "queue_reset": _queue_reset,
    }


def _word(mask: Feature, select: int) -> int:
    """Bits ``select * 32`` and up; 0 beyond what is known (4.1.4.3.1)."""
    return int(mask) >> 32 * select & _LOW if select < 32 else 0


def _queue_field(queue: Queue | None, name: str, half: int) -> int:
    """A queue register; a queue that is not there has size 0 (4.1.4.3.1)."""
    if queue is None:
        return NO_VECTOR if name == "queue_msix_vector" else 0
    if name in ("queue_desc", "queue_driver", "queue_device"):
        return int(getattr(queue, name.removeprefix("queue_"))) >> 32 * half & _LOW
    values = {
        "queue_size": queue.size,
        "queue_msix_vector": queue.vector,
        "queue_enable": int(queue.enabled),
        "queue_notify_off": queue.index,
    }
    return values.get(name, 0)
