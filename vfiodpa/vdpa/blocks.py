"""The register blocks of a function that no driver has initialised: for looking at a device that is not well.

Nothing is reset and nothing is negotiated; the only write is the memory bit of the command register,
without which no BAR answers.
"""

from __future__ import annotations

from ..drivers.quirks import PciId
from ..drivers.registry import record_for
from ..drivers.transport import Transport, check_present
from ..drivers.vendor import Vendor
from ..errors import Unsupported, UsageError
from ..pci.function import PciFunction
from ..registers import Register, RegisterArray, RegisterBlock
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_net import NetConfig


def blocks_of(function: PciFunction) -> dict[str, RegisterBlock]:
    """The blocks by name: ``pci``, and as far as the function has them ``common``, ``isr``, ``net``, the vendor's."""
    check_present(function)
    header = ConfigHeader(function.config)
    header.command |= Command.MEMORY
    found: dict[str, RegisterBlock] = {"pci": header}
    try:
        transport = Transport.find(function)
    except Unsupported:
        pass  # no virtio structures: the header is all that can be named
    else:
        found |= {"common": transport.common, "isr": transport.isr, "net": NetConfig(transport.net)}
    record = record_for(PciId.of(function))
    if record:
        record = record.adapt(record, function) if record.adapt else record
        found |= Vendor(function, record).blocks
    return found


def find_block(blocks: dict[str, RegisterBlock], name: str) -> RegisterBlock:
    """Raises ``UsageError`` that says which there are."""
    if name not in blocks:
        raise UsageError(f"there is no register block {name!r}", cause=f"there are {', '.join(blocks)}")
    return blocks[name]


def find_register(block: RegisterBlock, name: str, index: int | None) -> Register[int]:
    """A register of a block, or one element of an array. Raises ``UsageError``."""
    register = next((r for r in block.registers() if r.name == name), None)
    title = type(block).__name__
    if register is None:
        names = ", ".join(r.name for r in block.registers())
        raise UsageError(f"{title} has no register {name!r}", cause=f"it has {names}")
    if isinstance(register, RegisterArray):
        if index is None or not 0 <= index < register.count:
            raise UsageError(f"{title}.{name} has {register.count} elements", remedy=f"{name}[0]")
        return register.element(index)
    if index is not None:
        raise UsageError(f"{title}.{name} is a single register")
    return register
