"""``shell``: a Python prompt with the device open; it is reset when the prompt is left."""

from __future__ import annotations

import argparse
import code
import readline
import sys
from collections.abc import Callable
from typing import Any

from ..errors import ExitCode
from ..vdpa.devices import Access, open_nic
from ..vdpa.nic import Nic
from .completion import Completer
from .words import add_access, add_noiommu

_HELP = """\
nic       the device: nic.queues, nic.guest(), nic.serve(PATH), nic.device, nic.function, nic.events
regs      its registers: regs.common, regs.common.queue_size, regs.common.queue_select = 1
queues    its virtqueues
features  what it offers, what a guest gets: "mrg_rxbuf" in features, features.why_not("ctrl_vq")
config    MAC, link, MTU: read anew each time"""


class LiveConfig:
    """``nic.config``, read whenever it is looked at."""

    def __init__(self, nic: Nic) -> None:
        self._nic = nic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nic.config, name)

    def __dir__(self) -> list[str]:
        return dir(self._nic.config)

    def __repr__(self) -> str:
        return repr(self._nic.config)


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``-c``: statements instead of a prompt."""
    add_access(parser)
    add_noiommu(parser)
    parser.add_argument("-c", dest="source", metavar="CODE", help="run this instead of reading from the prompt")


def run_shell(arguments: argparse.Namespace) -> ExitCode:
    """A prompt on a terminal; else what comes on standard input is run as a script."""
    access = Access(arguments.iommu, arguments.unsafe_noiommu)
    with open_nic(arguments.device, access=access, driver=arguments.driver) as nic:
        names = namespace(nic)
        if arguments.source is not None:
            return run_source(arguments.source, "<command line>", names)
        if not sys.stdin.isatty():
            return run_source(sys.stdin.read(), "<stdin>", names)
        _prompt(nic, names)
    return ExitCode.DONE


def namespace(nic: Nic) -> dict[str, Any]:
    """The names that a prompt or a script finds."""
    return {
        "__name__": "__console__",
        "nic": nic,
        "regs": nic.regs,
        "queues": nic.queues,
        "features": nic.features,
        "config": LiveConfig(nic),
    }


def run_source(source: str, filename: str, names: dict[str, Any]) -> ExitCode:
    """Run a script: a failure is printed as Python prints it, and is the exit code."""
    console = code.InteractiveInterpreter(names)
    try:
        program = compile(source, filename, "exec")
    except (SyntaxError, ValueError, OverflowError):
        console.showsyntaxerror(filename)
        return ExitCode.FAILED
    try:
        exec(program, names)
    except Exception as error:  # noqa: BLE001  whatever the script raises is its user's
        console.showtraceback()
        return getattr(error, "exit_code", ExitCode.FAILED)
    return ExitCode.DONE


def banner(nic: Nic) -> str:
    """What the prompt opens with."""
    return f"{nic!r}\n{_HELP}\nLeave with Ctrl-D: the device is reset."


def _prompt(nic: Nic, names: dict[str, Any]) -> None:
    before = readline.get_completer()
    readline.set_completer(Completer(names).complete)
    readline.parse_and_bind("tab: complete")
    try:
        code.InteractiveConsole(names).interact(banner=banner(nic), exitmsg="")
    except SystemExit:
        pass  # exit() at the prompt ends the prompt
    finally:
        readline.set_completer(before)


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"shell": run_shell}
