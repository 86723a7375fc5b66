"""A NIC opened at a prompt: its function, registers, features, configuration, queues and events by name.

>>> nic = vfiodpa.open("soft")
>>> nic.regs.common.device_status
<DeviceStatus.ACKNOWLEDGE|DRIVER: 3>
>>> "mrg_rxbuf" in nic.features
True
"""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..drivers.device import DoorbellAddress, VdpaDevice
from ..errors import DeviceGone, DeviceTimeout
from ..frontends.vhost_user.offer import explain
from ..guest.direct import DirectGuest
from ..pci.function import PciFunction
from ..readable import readable
from ..registers import RegisterBlock
from ..spec import features as spec
from ..spec.features import Feature
from ..spec.pci import ConfigHeader
from ..spec.virtio_net import NetConfig, NetStatus
from ..spec.virtio_pci import CommonCfg, IsrCfg
from .doorbell import DoorbellMode
from .report import report
from .service import Service, log_ready

log = logging.getLogger(__name__)

CONFIG_VECTOR_NEEDS = 2  # the only vector is signalled for each frame


class Registers:
    """Register blocks by name: ``nic.regs.common.queue_size``; ``dump()`` gives all values."""

    pci: ConfigHeader
    common: CommonCfg
    isr: IsrCfg
    net: NetConfig

    def __init__(self, blocks: Mapping[str, RegisterBlock]) -> None:
        self._blocks = dict(blocks)

    def __getattr__(self, name: str) -> Any:  # a vendor's blocks have types of their own
        try:
            return self._blocks[name]
        except KeyError:
            raise AttributeError(f"no register block {name!r}; there are {', '.join(self._blocks)}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._blocks]

    def __repr__(self) -> str:
        """What there is; each block prints its own registers."""
        rows = [(name, type(block).__name__, block.ref) for name, block in self._blocks.items()]
        wide = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(f"{name:<{wide[0]}}  {kind:<{wide[1]}}  {ref}" for name, kind, ref in rows)

    def __iter__(self) -> Iterator[tuple[str, RegisterBlock]]:
        return iter(self._blocks.items())

    def dump(self) -> dict[str, dict[str, int | list[int]]]:
        """Every register that can be read without changing it (so not the ISR)."""
        values = {name: block.dump() for name, block in self._blocks.items()}
        return {name: block for name, block in values.items() if block}


class Features:
    """What the device offers, what a guest may be offered, and what is in force.

    ``"mrg_rxbuf" in nic.features``: may a guest have it? Names in any case, with or without prefixes.
    """

    def __init__(self, device: VdpaDevice) -> None:
        self._device = device

    @property
    def device(self) -> Feature:
        """What the device itself offers, transport bits included."""
        return self._device.device_features

    @property
    def guest(self) -> Feature:
        """What a guest may be offered."""
        return self._device.features

    @property
    def negotiated(self) -> Feature:
        """What is in force."""
        return self._device.negotiated

    def why_not(self, name: str) -> str:
        """Why a guest is not offered a feature; empty when it is. Raises ``ValueError`` for an unknown name."""
        wanted = spec.parse(name)
        return next((offer.why for offer in explain(self.device, self.guest) if offer.bit == wanted), "")

    def __contains__(self, name: str) -> bool:
        return bool(spec.parse(name) & self.guest)

    def __repr__(self) -> str:
        parts = {"device": self.device, "guest": self.guest, "negotiated": self.negotiated}
        lines = (f"{who:<10}  {' '.join(spec.names(mask)) or '-'}" for who, mask in parts.items())
        return "\n".join(textwrap.fill(line, 100, subsequent_indent=" " * 12) for line in lines)


@dataclass(frozen=True, slots=True)
class NicConfig:
    """Device configuration; a field that the device does not offer is ``None``."""

    mac: str | None
    link_up: bool | None
    mtu: int | None  # bytes
    max_queue_pairs: int | None
    speed: int | None  # Mbit/s

    @classmethod
    def of(cls, device: VdpaDevice) -> Self:
        """Read under one configuration generation."""
        raw = device.read_config()
        mac, status = raw.get("mac"), raw.get("status")
        return cls(
            mac=":".join(f"{byte:02x}" for byte in mac) if isinstance(mac, list) else None,
            link_up=bool(status & NetStatus.LINK_UP) if isinstance(status, int) else None,
            mtu=_plain(raw, "mtu"),
            max_queue_pairs=_plain(raw, "max_virtqueue_pairs"),
            speed=_plain(raw, "speed"),
        )


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A virtqueue as the device presents it. ``size_max`` in entries."""

    index: int
    size_max: int
    doorbell: DoorbellAddress

    @property
    def kind(self) -> str:
        """``receive`` or ``transmit``."""
        return "transmit" if self.index % 2 else "receive"

    def __repr__(self) -> str:
        at = self.doorbell
        return f"<queue {self.index}: {self.kind}, up to {self.size_max} entries, doorbell BAR {at.bar}+{at.offset:#x}>"


class Event:
    """An eventfd that can be waited for."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd

    def fileno(self) -> int:
        """The fd, for poll and friends."""
        return self._fd

    @property
    def pending(self) -> bool:
        """Has it been signalled since the last wait?"""
        return bool(readable([self._fd], 0))

    def wait(self, timeout: float = 1.0) -> int:
        """Wait for ``timeout`` seconds; returns how often it was signalled. Raises ``DeviceTimeout``."""
        if not readable([self._fd], timeout):
            raise DeviceTimeout(f"event {self.name!r} did not come within {timeout} s")
        return os.eventfd_read(self._fd)

    def __repr__(self) -> str:
        return f"<event {self.name}: {'pending' if self.pending else 'quiet'}>"


@dataclass(frozen=True, slots=True)
class Events:
    """``config``: configuration or status changed; ``error``: the function failed; ``release``: wanted back."""

    config: Event
    error: Event
    release: Event


class Nic:
    """One opened NIC. A context manager: leaving it resets the device and closes the function."""

    def __init__(self, device: VdpaDevice) -> None:
        self.device = device
        self.function: PciFunction = device.function
        self.regs = Registers(device.blocks)
        self.features = Features(device)
        self._config_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.events = Events(
            Event("config", self._config_fd),
            Event("error", self.function.error_event),
            Event("release", self.function.release_event),
        )
        self._open = True
        self._watch_config()

    @property
    def name(self) -> str:
        """PCI address, or the software NIC's name."""
        return self.function.name

    @property
    def config(self) -> NicConfig:
        """Device configuration, read now."""
        return NicConfig.of(self.device)

    @property
    def queues(self) -> list[QueueInfo]:
        """The virtqueues of all pairs: receive and transmit alternating."""
        device = self.device
        indices = range(2 * device.queue_pairs)
        return [QueueInfo(i, device.queue_size_max(i), device.doorbell_address(i)) for i in indices]

    def guest(self) -> DirectGuest:
        """Our own driver half on this NIC, without any socket: rings to fill by hand."""
        self._watch_config()
        return DirectGuest(self.device)

    def _watch_config(self) -> None:
        """Have ``events.config`` signalled: a served guest's datapath takes that vector for itself."""
        if self.function.vectors >= CONFIG_VECTOR_NEEDS:
            self.device.set_config_irq(self._config_fd)

    def counters(self) -> dict[str, Any]:
        """Counters of the driver and of the function, ready for JSON (see ``vfiodpa.report/1``)."""
        return report(self.device)

    def diagnose(self) -> str:
        """Why the device failed, as far as anyone knows; empty when it did not."""
        return self.function.diagnose()

    def serve(
        self,
        path: Path | str,
        *,
        client: bool = False,
        on_ready: Callable[[str], None] = log_ready,
        doorbell: DoorbellMode | str = DoorbellMode.NOTIFIER,
    ) -> Service:
        """Serve guests on a vhost-user socket: ``start`` does so in a thread, ``run`` in this one.

        The device is the guests' until the service is closed. ``doorbell``: the best way that kicks may take.
        """
        best = DoorbellMode(doorbell)
        return Service(self.device, Path(path), client=client, on_ready=on_ready, doorbell=best)

    def close(self) -> None:
        """Reset the device and close the function; harmless when already closed."""
        if not self._open:
            return
        self._open = False
        try:
            self.device.close()
        except DeviceGone as error:  # then there is nothing to reset
            log.warning("%s", error)
        finally:
            self.function.close()
            os.close(self._config_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if not self._open:
            return f"<Nic {self.name}: closed>"
        pairs = self.device.queue_pairs
        return f"<Nic {self.name}: driver {self.device.driver}, {pairs} queue pair{'s' * (pairs > 1)}>"


def _plain(raw: Mapping[str, int | list[int]], name: str) -> int | None:
    value = raw.get(name)
    return value if isinstance(value, int) else None
