"""The register blocks of a function that no driver has initialised: for looking at a device that is not well.

Nothing is reset and nothing is negotiated. What is written: the memory bit of the command register, without
which no BAR answers, and device_feature_select, which is put back.
"""

from __future__ import annotations

import logging

from ..drivers.net_config import OfferedConfig
from ..drivers.quirks import GENERIC, PciId, Quirks
from ..drivers.registry import record_for
from ..drivers.transport import CheckedWindow, Transport, check_present
from ..errors import DeviceError, Unsupported, UsageError
from ..pci.function import PciFunction
from ..registers import Register, RegisterArray, RegisterBlock
from ..spec.features import Feature
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_pci import CommonCfg

log = logging.getLogger(__name__)


def blocks_of(function: PciFunction) -> dict[str, RegisterBlock]:
    """The blocks by name: ``pci``, and as far as the function has them ``common``, ``isr``, ``net``, the vendor's."""
    check_present(function)
    header = ConfigHeader(function.config)
    header.command |= Command.MEMORY
    found: dict[str, RegisterBlock] = {"pci": header}
    record = record_for(PciId.of(function)) or GENERIC  # as declared: ``adapt`` wants a device that was reset
    try:
        transport = Transport.find(function)
    except Unsupported:
        pass  # no virtio structures: the header is all that can be named
    else:
        net = OfferedConfig(transport.net, _offered(transport.common, record.feature_words))
        found |= {"common": transport.common, "isr": transport.isr, "net": net}
    return found | _vendor_blocks(function, record)


def _vendor_blocks(function: PciFunction, record: Quirks) -> dict[str, RegisterBlock]:
    """Those of the record that this very card has."""
    found: dict[str, RegisterBlock] = {}
    for bar, (name, kind) in record.blocks.items():
        try:
            found[name] = kind(CheckedWindow(function.bar(bar), function))
        except DeviceError as error:
            log.info("%s: no block %r: %s", function.name, name, error.what)
    return found


def _offered(common: CommonCfg, words: int) -> Feature:
    """What decides which fields of the device configuration exist (2.5.2)."""
    before = common.device_feature_select
    offered = 0
    for word in range(words):
        common.device_feature_select = word
        offered |= common.device_feature << 32 * word
    common.device_feature_select = before
    return Feature(offered)


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
