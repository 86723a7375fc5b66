"""``serve``: the main job. One device, one vhost-user socket, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from ..errors import DeviceGone, ExitCode
from ..frontends.vhost_user.offer import explain
from ..vdpa.devices import Access, open_nic
from ..vdpa.report import write_report
from .output import print_json
from .words import add_access

log = logging.getLogger(__name__)


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``--socket``, ``--iommu``, ``--client``, ``--report``."""
    parser.add_argument("-s", "--socket", type=Path, required=True, metavar="PATH", help="vhost-user socket")
    add_access(parser)
    parser.add_argument("--client", action="store_true", help="connect to PATH instead of listening on it")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write all counters as JSON at exit, and at SIGUSR1"
    )


def run_serve(arguments: argparse.Namespace) -> ExitCode:
    """Serve until told to stop; the guest is detached and the device reset before it returns."""
    with open_nic(arguments.device, access=Access(arguments.iommu)) as nic:
        device = nic.device
        for offer in explain(device.device_features, device.features):
            log.info("%s: %s %s", device.name, offer.name, "offered" if offer.offered else f"not offered: {offer.why}")

        def ready(line: str) -> None:
            if arguments.json:
                print_json("serve/1", {"event": line, "device": device.name, "socket": str(arguments.socket)})
            else:
                print(line, flush=True)

        with nic.serve(arguments.socket, client=arguments.client, on_ready=ready) as service:
            if arguments.report:
                signal.signal(signal.SIGUSR1, lambda *_: write_report(device, arguments.report))
            service.run(signal.SIGTERM, signal.SIGINT)
            taken = service.wanted_back
        if arguments.report:
            write_report(device, arguments.report)
    if taken:
        raise DeviceGone("it was given back", device=device.name, cause="somebody unbinds or unplugs it")
    return ExitCode.DONE


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"serve": run_serve}
