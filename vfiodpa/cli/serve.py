"""``serve``: the main job. One device, one vhost-user socket, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Self

from ..drivers.device import VdpaDevice
from ..errors import ExitCode, LimitError
from ..frontends.vhost_user.offer import by_reason, explain
from ..trace.traced import TracedFunction
from ..vdpa.devices import Access, open_nic
from ..vdpa.doorbell import DoorbellMode
from ..vdpa.report import check_report, report, write_report
from ..vdpa.service import Service
from .output import print_json
from .words import add_access, add_trace, add_workers, device_of

log = logging.getLogger(__name__)

STOP = (signal.SIGTERM, signal.SIGINT)


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``--socket``, ``--iommu``, ``--cpus``, ``--poll``, ``--client``, ``--doorbell``, ``--report``."""
    parser.add_argument("-s", "--socket", type=Path, required=True, metavar="PATH", help="vhost-user socket")
    add_access(parser)
    add_trace(parser)
    add_workers(parser)
    parser.add_argument("--client", action="store_true", help="connect to PATH instead of listening on it")
    parser.add_argument(
        "--doorbell",
        choices=[mode.value for mode in DoorbellMode],
        default=DoorbellMode.NOTIFIER.value,
        help="the best way that kicks may take to the device: notifier (the guest writes to it itself, the default), "
        "ioeventfd or relay",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write all counters as JSON at exit, and at SIGUSR1"
    )


class StopSignals:
    """From the first moment to the last, SIGTERM and SIGINT ask for the end and tear nothing apart.

    No signal mask: the threads of libraries would still take the signal.
    """

    def __init__(self) -> None:
        self._service: Service | None = None
        self._asked = False

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._stop) for number in STOP}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        self._asked = True
        if self._service is not None:
            self._service.stop()

    def serve(self, service: Service) -> None:
        """Run the service until a signal, also when one came before."""
        self._service = service
        if self._asked:
            service.stop()
        service.run(*STOP)


def _report_now(device: VdpaDevice, path: Path) -> None:
    """At a signal: guests do not suffer from a full disk."""
    try:
        write_report(device, path)
    except LimitError as error:
        log.warning("%s", error)


def _log_features(device: VdpaDevice) -> None:
    """One line for what guests are offered, and one for each reason why the rest is not."""
    offers = explain(device.device_features, device.features)
    log.info("%s: offered: %s", device.name, " ".join(offer.name for offer in offers if offer.offered))
    for why, names in by_reason(offers).items():
        log.info("%s: not offered, %s: %s", device.name, why, " ".join(names))


def run_serve(arguments: argparse.Namespace) -> ExitCode:
    """Serve until told to stop; the guest is detached and the device reset before it returns."""
    access = Access(arguments.iommu, trace=arguments.trace)
    with StopSignals() as signals, open_nic(device_of(arguments), access=access, driver=arguments.driver) as nic:
        device = nic.device
        if arguments.report:
            check_report(device, arguments.report)
        _log_features(device)

        def ready(line: str) -> None:
            if arguments.json:
                print_json("serve/1", {"event": line, "device": device.name, "socket": str(arguments.socket)})
            else:
                print(line, flush=True)

        how = {"client": arguments.client, "doorbell": arguments.doorbell}
        with nic.serve(arguments.socket, on_ready=ready, **how) as service:
            if arguments.report:
                signal.signal(signal.SIGUSR1, lambda *_: _report_now(device, arguments.report))
            try:
                signals.serve(service)
            finally:
                service.close()
                if isinstance(device.function, TracedFunction):
                    device.function.count(report(device))
                if arguments.report:
                    write_report(device, arguments.report)
    return ExitCode.DONE


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"serve": run_serve}
