"""What a mutant can change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...registers import RegisterBlock, Window

if TYPE_CHECKING:
    from ..virtio_net import VirtioNet

Read = Callable[["VirtioNet", int], int]  # of the value that the model gives
Write = Callable[["VirtioNet", int], "int | None"]  # of the value written; None: it is lost


@dataclass(frozen=True, slots=True)
class Mutant:
    """Breaks ``clause`` and, as a matter of course, those in ``also``.

    ``features``: of the offered bits. ``config``: edits configuration space as built,
    ``around``: puts itself around it. ``reads`` and ``writes``: by
    ``Block.register``, for example ``CommonCfg.queue_size``. ``patch``: anything else, on the device once it is made.
    ``native``: ``enum vdp_mutant`` of csrc/mutant.h, 0: the data path is the ordinary one. ``options``: of the device
    string that the clause needs, such as ``queues=2``.
    """

    clause: str
    does: str
    also: tuple[str, ...] = ()
    options: str = ""
    features: Callable[[int], int] | None = None
    config: Callable[[bytearray], None] | None = None
    reads: Mapping[str, Read] = field(default_factory=dict)
    writes: Mapping[str, Write] = field(default_factory=dict)
    patch: Callable[[VirtioNet], None] | None = None
    native: int = 0
    around: Callable[[VirtioNet, Window], Window] | None = None


@dataclass(frozen=True, slots=True)
class MutantWindow:
    """A register block as the mutant shows it (a ``Window``)."""

    inner: Window
    block: type[RegisterBlock]
    nic: VirtioNet
    mutant: Mutant

    @property
    def length(self) -> int:
        """Bytes of the window."""
        return self.inner.length

    def read(self, offset: int, width: int) -> int:
        value = self.inner.read(offset, width)
        twist = self.mutant.reads.get(self._name(offset))
        return twist(self.nic, value) & (1 << width) - 1 if twist else value

    def write(self, offset: int, width: int, value: int) -> None:
        twist = self.mutant.writes.get(self._name(offset))
        twisted = twist(self.nic, value) if twist else value
        if twisted is not None:
            self.inner.write(offset, width, twisted)

    def _name(self, offset: int) -> str:
        register = self.block.lookup(offset)
        return f"{self.block.__name__}.{register.name}" if register else ""


def around(owner: object, name: str, wrapper: Callable[..., object]) -> None:
    """Replace a method of one object: ``wrapper`` gets the one that was there, and its arguments."""
    real = getattr(owner, name)
    setattr(owner, name, lambda *arguments: wrapper(real, *arguments))
