"""Configuration space as sysfs shows it: the ``config`` file, for functions that nobody opened."""

from __future__ import annotations

from typing import Self

from ..errors import LimitError, StateError, errno_name
from .host import Host


class ConfigFile:
    """A snapshot of the file as a read-only ``Window``.

    The kernel lets everybody read the 64 bytes of the header, root also the capabilities (256 bytes,
    or 4096 with PCI Express). ``length`` is what was to be had.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    @classmethod
    def read_from(cls, host: Host, address: str) -> Self:
        """Raises ``LimitError`` when the file cannot be read."""
        path = host.device(address) / "config"
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise LimitError(f"cannot read {path}", device=address, cause=errno_name(error.errno or 0)) from error

    def read(self, offset: int, width: int) -> int:
        """Little-endian, as all of PCI; raises ``IndexError`` past the end."""
        end = offset + width // 8
        if not 0 <= offset < end <= self.length:
            raise IndexError(f"{width}-bit access at {offset:#x} leaves {self.length:#x} bytes of configuration space")
        return int.from_bytes(self._data[offset:end], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        """Never: the function belongs to its driver."""
        raise StateError(
            f"configuration space in sysfs is not written ({width} bits, {value:#x} at {offset:#x})",
            cause="the function belongs to its driver",
        )
