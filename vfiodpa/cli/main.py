"""``vfiodpa``: parse the words, call the verb, turn errors into exit codes."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from ..errors import ExitCode, LimitError, VfiodpaError, errno_name
from ..pci.host import Host
from . import bind, demo, devices, doctor, regs, serve, shell, show, trace, validate
from .output import print_error

DEVICE_HELP = "PCI address (0000:3b:00.2, 3b:00.2) or soft[:key=value,...], for example soft:port=echo"
EPILOG = (
    "exit codes: 0 done, 1 failed, 2 usage, 3 device absent, 4 permission or limit, 5 peer broke the protocol, "
    "6 device failed or gone, 7 not supported here, 77 skipped, 130 interrupted"
)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="vfiodpa",
        description="Userspace vDPA: virtio NICs for guests, through VFIO or in software.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"vfiodpa {version('vfiodpa')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, module, text in (
        ("demo", demo, "move verified packets through the whole path on the software NIC"),
        ("serve", serve, "serve one device to guests on a vhost-user socket"),
        ("list", devices, "list devices and what stands in their way"),
        ("show", show, "show one device: identity, registers, features, queues"),
        ("bind", bind, "hand PCI functions to vfio-pci"),
        ("unbind", bind, "give PCI functions back to their own driver"),
        ("doctor", doctor, "check what this machine can do, and name what mends the rest"),
        ("regs", regs, "dump or write a device's registers by name"),
        ("shell", shell, "a Python prompt with the device open"),
        ("trace", trace, "show a recording by the names of its registers and messages"),
        ("validate", validate, "hold a device against the virtio specification, clause by clause"),
    ):
        sub = verbs.add_parser(verb, help=text, description=text[:1].upper() + text[1:] + ".", epilog=EPILOG)
        sub.add_argument("-j", "--json", action="store_true", help="JSON on standard output")
        sub.add_argument("-v", "--verbose", action="count", default=0, help="say more (-vv: each message)")
        if verb in ("serve", "show", "shell"):
            sub.add_argument("device", metavar="DEVICE", help=DEVICE_HELP)
            sub.add_argument("--driver", metavar="NAME", help="instead of the one that the PCI ids choose")
        module.add_arguments(verb, sub)
        sub.set_defaults(run=module.VERBS[verb])
    return parser


def main(words: Sequence[str] | None = None, host: Host | None = None) -> int:
    """Run one verb; returns the exit code. ``host`` stands in for this machine's sysfs, /proc and /dev."""
    arguments = build_parser().parse_args(words)
    arguments.host = host or Host()
    _set_up_logging(arguments.verbose)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except VfiodpaError as error:
        print_error(error, as_json=arguments.json)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        return int(ExitCode.FAILED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        full = LimitError("cannot write the output", cause=errno_name(error.errno), remedy="make room on the disk")
        print_error(full, as_json=arguments.json)
        return int(full.exit_code)


def _drop_output() -> None:
    """The interpreter flushes standard output once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _set_up_logging(verbose: int) -> None:
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    form = "%(asctime)s %(levelname)s %(message)s" if verbose < 2 else "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level, format=form, stream=sys.stderr)
