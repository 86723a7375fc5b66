"""One check and what it found; all of them and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..errors import ExitCode, VfiodpaError


class Level(StrEnum):
    """``INFO`` is worth knowing and never in the way; only ``FAIL`` is."""

    OK = "ok"
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """``text``: what was found. ``remedy``: the command (or change) that mends it; always there when it failed."""

    name: str
    level: Level
    text: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.level is Level.FAIL and not self.remedy:
            raise ValueError(f"check {self.name!r} fails without saying what mends it")

    @classmethod
    def of_error(cls, name: str, error: VfiodpaError, remedy: str, level: Level = Level.FAIL) -> Check:
        """What an operation that was tried raised; ``remedy`` where the error names none."""
        text = f"{error.what} ({error.cause})" if error.cause else error.what
        return cls(name, level, text, error.remedy or remedy)


@dataclass(frozen=True, slots=True)
class Report:
    """``hardware``: what PCI functions need; ``software``: what the software NIC needs; ``present``: is it there?"""

    hardware: tuple[Check, ...]
    software: tuple[Check, ...]
    has_iommu: bool = True
    present: bool = True

    @property
    def checks(self) -> tuple[Check, ...]:
        """All, in order."""
        return self.hardware + self.software

    @property
    def able(self) -> bool:
        """Can what was asked about be served?"""
        return not failed(self.checks)

    @property
    def software_able(self) -> bool:
        """Does at least the software NIC work?"""
        return not failed(self.software)

    @property
    def exit_code(self) -> ExitCode:
        """Done when able; the device absent; unsupported where there is no IOMMU at all; else failed."""
        if self.able:
            return ExitCode.DONE
        if not self.present:
            return ExitCode.NO_DEVICE
        return ExitCode.FAILED if self.has_iommu or not self.software_able else ExitCode.UNSUPPORTED


def failed(checks: tuple[Check, ...]) -> list[Check]:
    """Those in the way."""
    return [check for check in checks if check.level is Level.FAIL]
