"""A small scripted PciFunction: a virtio NIC's registers with switches for what can go wrong.

Every access is checked for the declared width and recorded, so that tests can read the order back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vfiodpa.errors import DeviceError, Unsupported
from vfiodpa.pci.function import DmaDomain, Doorbell, PciFunction
from vfiodpa.registers import Register, RegisterBlock, Window
from vfiodpa.spec.features import Feature
from vfiodpa.spec.pci import CapId, Command, ConfigHeader, ConfigHeaderLayout, Status
from vfiodpa.spec.virtio_net import NetConfig
from vfiodpa.spec.virtio_pci import NO_VECTOR, CfgType, CommonCfg, DeviceStatus, IsrCfg, NotifyCap, VirtioPciCap

COMMON, ISR, DEVICE, NOTIFY = 0x000, 0x100, 0x200, 0x400
BAR_SIZE = 0x1000
VENDOR_BAR = 4
VENDOR_BARS = (2, VENDOR_BAR)  # they share their registers
MULTIPLIER = 4
MAC = bytes.fromhex("525400123456")

BASIC = (
    Feature.VERSION_1
    | Feature.NET_MAC
    | Feature.NET_STATUS
    | Feature.NET_MRG_RXBUF
    | Feature.INDIRECT_DESC
    | Feature.EVENT_IDX
)


@dataclass
class Access:
    """One access: ``op`` is r or w, ``register`` its name (``bar4+0x20`` outside the virtio structures)."""

    op: str
    register: str
    width: int
    value: int


@dataclass
class Options:
    """What the device is, and what it does wrong."""

    vendor: int = 0x1AF4
    device: int = 0x1041
    subsystem_vendor: int = 0x1AF4
    subsystem: int = 0x1100
    features: int = int(BASIC)
    pairs: int = 1
    num_queues: int = 3
    queue_size: int = 256
    vectors: int = 4
    common_length: int = 0x40
    notify_length: int = 0x100
    multiplier: int = MULTIPLIER
    vendor_bar: bool = False
    # faults
    never_resets: bool = False
    function_reset: str = "none"  # none, mends, useless, fails
    reset_polls: int = 2  # reads of device_status before a reset is done
    refuses_features: bool = False
    gone_after: int = -1  # accesses until everything reads as ones
    missing: CfgType | None = None
    reserved_bar: CfgType | None = None  # a first capability of this type with a reserved BAR value
    loop: bool = False
    refuses_vectors: bool = False
    queue_reset_ends: bool = True
    enable_sticks: bool = False  # queue_enable stays 1 after a queue reset
    generation_moves: int = 0  # how often the configuration changes while it is read


@dataclass
class QueueRegisters:
    """The registers that queue_select selects."""

    values: dict[str, int] = field(default_factory=dict)
    polls: int = 0


class FakeWindow:
    """BAR 0 or another: delegates to the function, which records."""

    def __init__(self, function: FakeFunction, bar: int) -> None:
        self.function = function
        self.bar = bar

    @property
    def length(self) -> int:
        return BAR_SIZE

    def read(self, offset: int, width: int) -> int:
        return self.function.access("r", self.bar, offset, width, 0)

    def write(self, offset: int, width: int, value: int) -> None:
        self.function.access("w", self.bar, offset, width, value)


class FakeConfig:
    """Configuration space."""

    def __init__(self, function: FakeFunction) -> None:
        self.function = function
        self.length = 256

    def read(self, offset: int, width: int) -> int:
        if self.function.gone:
            return (1 << width) - 1
        if offset + width // 8 > self.length:
            raise IndexError(f"{offset:#x} is outside configuration space")
        return int.from_bytes(self.function.space[offset : offset + width // 8], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        self.function.space[offset : offset + width // 8] = value.to_bytes(width // 8, "little")


class FakeFunction(PciFunction):
    """See the module."""

    def __init__(self, **options: object) -> None:
        self.options = Options(**options)  # type: ignore[arg-type]
        self.name = "fake0"
        self.log: list[Access] = []
        self.irqs: dict[int, int | None] = {}
        self.accesses = 0
        self.function_resets = 0
        self.closed = False
        self.vendor: dict[int, int] = {}
        self.space = bytearray(256)
        self.features_written = [0] * 4
        self._build_config()
        self._clear()

    # What tests look at

    @property
    def gone(self) -> bool:
        return 0 <= self.options.gone_after <= self.accesses

    def writes(self) -> list[tuple[str, int]]:
        """(register, value) of every write, in order."""
        return [(a.register, a.value) for a in self.log if a.op == "w"]

    def order(self) -> list[str]:
        """``r name`` and ``w name`` in order."""
        return [f"{a.op} {a.register}" for a in self.log]

    # PciFunction

    @property
    def config(self) -> Window:
        return FakeConfig(self)

    def bar(self, index: int) -> Window:
        if index == 0 or (index in VENDOR_BARS and self.options.vendor_bar):
            return FakeWindow(self, index)
        raise DeviceError(f"BAR {index} is not implemented", device=self.name)

    @property
    def dma(self) -> DmaDomain:
        raise NotImplementedError

    @property
    def vectors(self) -> int:
        return self.options.vectors

    def set_irq(self, vector: int, fd: int | None) -> None:
        self.irqs[vector] = fd

    def ioeventfd(self, bar: int, offset: int, width: int, value: int, fd: int | None) -> None:
        raise NotImplementedError

    def doorbell(self, bar: int, offset: int, width: int, value: int) -> Doorbell:
        return Doorbell((bar, offset, width, value), self)

    def reset(self) -> None:
        self.function_resets += 1
        if self.options.function_reset == "none":
            raise Unsupported("it cannot be reset on its own", device=self.name)
        if self.options.function_reset == "fails":
            raise DeviceError("the function reset failed", device=self.name, cause="EIO")
        self.irqs = dict.fromkeys(self.irqs)
        ConfigHeader(self.config).command = Command(0)
        if self.options.function_reset == "mends":
            self.options.never_resets = False
            self._clear()

    @property
    def error_event(self) -> int:
        raise NotImplementedError

    @property
    def release_event(self) -> int:
        raise NotImplementedError

    def diagnose(self) -> str:
        return "the fake was told to"

    def close(self) -> None:
        self.closed = True

    # The device

    def access(self, op: str, bar: int, offset: int, width: int, value: int) -> int:
        self.accesses += 1
        name = self._name(bar, offset, width)
        if op == "r":
            value = (1 << width) - 1 if self.gone else self._load(bar, name, offset, width)
        self.log.append(Access(op, name, width, value))
        if op == "w" and not self.gone:
            self._store(bar, name, offset, value)
        return value

    def _name(self, bar: int, offset: int, width: int) -> str:
        if bar != 0:
            return f"bar{bar}+{offset:#x}"
        if offset >= NOTIFY:
            return f"notify+{offset - NOTIFY:#x}"
        block, base = self._block(offset)
        register = block.lookup(offset - base)
        if register is None:
            raise AssertionError(f"access to a hole at {offset:#x}")
        declared = min(register.width, 32)
        if declared != width or (offset - base - register.offset) % (declared // 8):
            raise AssertionError(f"{register.name} accessed with {width} bits at {offset - base:#x}")
        high = isinstance(register, Register) and offset - base != register.offset
        return register.name + ("_high" if high else "")

    @staticmethod
    def _block(offset: int) -> tuple[type[RegisterBlock], int]:
        if offset >= DEVICE:
            return NetConfig, DEVICE
        return (IsrCfg, ISR) if offset >= ISR else (CommonCfg, COMMON)

    def _load(self, bar: int, name: str, offset: int, width: int) -> int:
        if bar:
            return self.vendor.get(offset, 0)
        if DEVICE <= offset < NOTIFY:
            return int.from_bytes(self.net[offset - DEVICE : offset - DEVICE + width // 8], "little")
        special = getattr(self, f"_load_{name}", None)
        if special:
            return int(special())
        if name.startswith("queue_") and name != "queue_select":
            queue = self.queues.get(self.values["queue_select"])
            return queue.values.get(name, 0) if queue else 0
        return self.values.get(name, 0)

    def _load_device_feature(self) -> int:
        return self.options.features >> 32 * self.values.get("device_feature_select", 0) & 0xFFFF_FFFF

    def _load_device_status(self) -> int:
        if self.resetting:
            self.resetting -= not self.options.never_resets
            return self.old_status
        return self.values["device_status"]

    def _load_config_generation(self) -> int:
        if self.options.generation_moves:
            self.options.generation_moves -= 1
            self.values["config_generation"] = self.values.get("config_generation", 0) + 1 & 0xFF
        return self.values.get("config_generation", 0)

    def _load_queue_reset(self) -> int:
        queue = self.queues[self.values["queue_select"]]
        if queue.values.get("queue_reset") and self.options.queue_reset_ends:
            queue.polls -= 1
            if queue.polls <= 0:
                queue.values["queue_reset"] = 0
                queue.values["queue_enable"] = int(self.options.enable_sticks)
        return queue.values.get("queue_reset", 0)

    def _store(self, bar: int, name: str, offset: int, value: int) -> None:
        if bar:
            self.vendor[offset] = value
            return
        special = getattr(self, f"_store_{name}", None)
        if special:
            special(value)
        elif name.startswith("queue_") and name != "queue_select":
            queue = self.queues.get(self.values["queue_select"])
            if queue:
                queue.values[name] = value
        else:
            self.values[name] = value

    def _store_device_status(self, value: int) -> None:
        if value == 0:
            self.old_status, keep = self.values["device_status"], self.options.reset_polls
            self._clear()
            self.resetting = keep if self.old_status or self.options.never_resets else 0
        elif value & DeviceStatus.FEATURES_OK and self.options.refuses_features:
            self.values["device_status"] = value & ~DeviceStatus.FEATURES_OK
        else:
            self.values["device_status"] = value

    def _store_driver_feature(self, value: int) -> None:
        self.features_written[self.values.get("driver_feature_select", 0)] = value

    def _store_config_msix_vector(self, value: int) -> None:
        self.values["config_msix_vector"] = NO_VECTOR if self.options.refuses_vectors else value

    def _store_queue_msix_vector(self, value: int) -> None:
        queue = self.queues[self.values["queue_select"]]
        queue.values["queue_msix_vector"] = NO_VECTOR if self.options.refuses_vectors else value

    def _store_queue_reset(self, value: int) -> None:
        queue = self.queues[self.values["queue_select"]]
        queue.values["queue_reset"], queue.polls = value, 3

    def _clear(self) -> None:
        self.resetting = 0
        self.old_status = 0x0F
        self.values: dict[str, int] = {
            "device_status": 0,
            "num_queues": self.options.num_queues,
            "config_msix_vector": NO_VECTOR,
            "queue_select": 0,
        }
        self.features_written = [0] * 4
        start = {"queue_size": self.options.queue_size, "queue_msix_vector": NO_VECTOR}
        self.queues = {
            q: QueueRegisters(start | {"queue_notify_off": q if q < 2 * self.options.pairs else 0})
            for q in range(self.options.num_queues)
        }
        self.net = bytearray(NetConfig.size)
        self.net[0:6] = MAC
        self.net[6:8] = (1).to_bytes(2, "little")
        self.net[8:10] = self.options.pairs.to_bytes(2, "little")
        self.net[10:12] = (1500).to_bytes(2, "little")

    # Configuration space

    def _build_config(self) -> None:
        o = self.options
        header = ConfigHeaderLayout(
            vendor_id=o.vendor,
            device_id=o.device,
            subsystem_vendor_id=o.subsystem_vendor,
            subsystem_id=o.subsystem,
            status=Status.CAPABILITIES,
            capabilities=0x40,
        )
        self.space[: header.size] = header.pack()
        caps = self._capabilities()
        for i, cap in enumerate(caps):
            at = 0x40 + i * 0x18
            last = i == len(caps) - 1
            cap.cap_next = (0x40 if o.loop else 0) if last else at + 0x18
            self.space[at : at + cap.size] = cap.pack()

    def _capabilities(self) -> Sequence[VirtioPciCap]:
        o = self.options
        places = {
            CfgType.COMMON: (COMMON, o.common_length),
            CfgType.NOTIFY: (NOTIFY, o.notify_length),
            CfgType.ISR: (ISR, 1),
            CfgType.DEVICE: (DEVICE, NetConfig.size),
        }
        caps = [self._capability(kind, *place) for kind, place in places.items() if kind is not o.missing]
        if o.reserved_bar is not None:
            bad = self._capability(o.reserved_bar, 0x123, 0x1000)
            bad.bar = 6
            caps.insert(0, bad)
        return caps

    def _capability(self, kind: CfgType, offset: int, length: int) -> VirtioPciCap:
        common = {"cap_id": CapId.VENDOR, "cfg_type": kind, "bar": 0, "offset": offset, "length": length}
        if kind is CfgType.NOTIFY:
            return NotifyCap(cap_len=NotifyCap.size, notify_off_multiplier=self.options.multiplier, **common)
        return VirtioPciCap(cap_len=VirtioPciCap.size, **common)
