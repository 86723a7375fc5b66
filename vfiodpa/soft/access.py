"""Strict decoding of an access: which register, and was it touched as the specification says?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..registers import AnyRegister, RegisterArray, RegisterBlock, Window
from . import rules
from .rules import Rule


class Model(Protocol):
    """What lies behind a register block.

    ``index`` is the half of a 64-bit register (0: low) or the element of an array, else 0.
    """

    @property
    def block(self) -> type[RegisterBlock]: ...

    @property
    def read_only(self) -> Rule:
        """The rule that a write to a read-only register breaks."""

    def load(self, name: str, index: int) -> int: ...

    def store(self, name: str, index: int, value: int) -> None: ...


@dataclass(frozen=True, slots=True)
class StrictWindow:
    """A model's registers at their offsets; the first ``length`` bytes are presented."""

    device: str
    model: Model
    length: int

    def read(self, offset: int, width: int) -> int:
        register, index = self._locate(offset, width, "read")
        return self.model.load(register.name, index)

    def write(self, offset: int, width: int, value: int) -> None:
        register, index = self._locate(offset, width, "write")
        if register.mode in ("ro", "rc"):
            raise self.model.read_only.breach(self.device, self._name(register), f"written ({value:#x})")
        if not 0 <= value < 1 << width:
            raise ValueError(f"{self._name(register)}: {value:#x} exceeds {width} bits")
        self.model.store(register.name, index, value)

    def _locate(self, offset: int, width: int, verb: str) -> tuple[AnyRegister, int]:
        block = self.model.block
        register = block.lookup(offset)
        if register is None or register.offset + register.size > self.length:
            raise rules.NOT_THERE.breach(
                self.device, f"{block.__name__}+{offset:#x}", f"{width}-bit {verb}, nothing there"
            )
        step = register.stride if isinstance(register, RegisterArray) else min(register.width // 8, 4)
        index, rest = divmod(offset - register.offset, step)
        if rest or width != min(register.width, 32):
            did = f"{width}-bit {verb} at {offset:#x}, it is {register.width} bits wide at {register.offset:#x}"
            raise rules.WIDTH.breach(self.device, self._name(register), did)
        return register, index

    def _name(self, register: AnyRegister) -> str:
        return f"{self.model.block.__name__}.{register.name}"


@dataclass(frozen=True, slots=True)
class Sections:
    """A BAR: windows at offsets, nothing between them."""

    device: str
    name: str
    length: int
    parts: tuple[tuple[int, Window], ...]

    def read(self, offset: int, width: int) -> int:
        base, part = self._find(offset, width, "read")
        return part.read(offset - base, width)

    def write(self, offset: int, width: int, value: int) -> None:
        base, part = self._find(offset, width, "write")
        part.write(offset - base, width, value)

    def _find(self, offset: int, width: int, verb: str) -> tuple[int, Window]:
        for base, part in self.parts:
            if base <= offset and offset + width // 8 <= base + part.length:
                return base, part
        raise rules.NOT_THERE.breach(self.device, f"{self.name}+{offset:#x}", f"{width}-bit {verb}, nothing there")
