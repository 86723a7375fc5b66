"""udev rules that hand a function to vfio-pci again at each boot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import LimitError, errno_name
from .device import VFIO_PCI
from .host import Host

# Before 80-drivers.rules, which loads the driver that the ids choose. A driver that is built in has the
# device already when the event comes: it is taken away. vfio-pci itself never is: somebody may use it.
_RULE = f"""\
# Written by "vfiodpa bind --persist"; "vfiodpa unbind" removes it.
ACTION!="add", GOTO="vfiodpa_end"
SUBSYSTEM!="pci", GOTO="vfiodpa_end"
KERNEL!="@ADDRESS@", GOTO="vfiodpa_end"
DRIVER=="{VFIO_PCI}", GOTO="vfiodpa_end"
ATTR{{driver_override}}="{VFIO_PCI}"
RUN{{builtin}}+="kmod load {VFIO_PCI}"
RUN+="/bin/sh -c 'test ! -e %S%p/driver || echo %k > %S%p/driver/unbind; echo %k > %S/bus/pci/drivers_probe'"
LABEL="vfiodpa_end"
"""


def rule_path(host: Host, address: str) -> Path:
    """Where the rule of a function is, or would be."""
    return host.rules / f"60-vfiodpa-{address}.rules"


def rule_text(address: str) -> str:
    """The rule."""
    return _RULE.replace("@ADDRESS@", address)


def install_rules(host: Host, addresses: Sequence[str]) -> None:
    """Write a rule for each function, all or none. Raises ``LimitError``."""
    written: list[Path] = []
    try:
        for address in addresses:
            is_new = not rule_path(host, address).exists()
            path = install_rule(host, address)
            written += [path] * is_new
    except LimitError:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def install_rule(host: Host, address: str) -> Path:
    """Write the rule, whole or not at all. Raises ``LimitError``."""
    path = rule_path(host, address)
    draft = path.with_suffix(".new")  # udev reads *.rules only
    try:
        host.rules.mkdir(parents=True, exist_ok=True)
        draft.write_text(rule_text(address))
        draft.replace(path)
    except OSError as error:
        raise LimitError(
            f"cannot write {path}", device=address, cause=errno_name(error.errno or 0), remedy="run it as root"
        ) from error
    return path


def remove_rule(host: Host, address: str) -> bool:
    """Remove the rule; was there one? Raises ``LimitError``."""
    path = rule_path(host, address)
    if not path.exists():  # asked first: where /etc is read-only, removing nothing is refused too
        return False
    try:
        path.unlink()
    except OSError as error:
        raise LimitError(
            f"cannot remove {path}", device=address, cause=errno_name(error.errno or 0), remedy="run it as root"
        ) from error
    return True
