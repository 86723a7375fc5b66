"""Device reset as a ladder: device status 0, then the function's own reset, each with a deadline.

A device that is late on the first rung may still do DMA, so Bus Master is taken from it before the second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import DeviceError, DeviceGone, DeviceTimeout, Unsupported
from ..pci.function import PciFunction
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_pci import CommonCfg, DeviceStatus
from .waiting import wait_until

log = logging.getLogger(__name__)

REMEDY = "power the machine off and on: nothing less resets the device"


@dataclass(frozen=True, slots=True)
class ResetDone:
    """``seconds`` that it took; ``by_function``: the function had to be reset."""

    seconds: float
    by_function: bool = False


class DeviceReset:
    """Call it to reset the device. Each rung has ``seconds``; a device that missed both is not waited for again.

    Until it has finished, later calls look once: the event loop serves others meanwhile. ``rearm`` is
    called after a reset of the function, which takes its vectors; Memory Space is enabled again here, Bus
    Master is for the driver to set once the device is to work, doorbells are bound with each queue.
    """

    def __init__(
        self, function: PciFunction, common: CommonCfg, seconds: float, rearm: Callable[[], None] = lambda: None
    ) -> None:
        self.function = function
        self.common = common
        self.seconds = seconds
        self._rearm = rearm
        self._late = False

    def __call__(self) -> ResetDone:
        """Raises ``DeviceTimeout`` when no rung helped, ``DeviceGone`` when the device is not there any more."""
        self.common.device_status = DeviceStatus(0)  # 2.4.1
        if self._late:
            self._look_once()
            return ResetDone(0.0)
        try:
            # 4.1.4.3.2: not initialised again before the status reads 0
            return ResetDone(self._wait("the device reset"))
        except DeviceTimeout as error:
            return self._climb(error)

    def _climb(self, error: DeviceTimeout) -> ResetDone:
        """The second rung. ``error``: what happened on the first."""
        self._late = True
        header = ConfigHeader(self.function.config)
        header.command = header.command & ~Command.BUS_MASTER
        log.warning("%s: %s; a function reset is tried", self.function.name, error.what)
        try:
            self.function.reset()
        except DeviceGone:
            raise
        except (Unsupported, DeviceError) as refused:
            raise self._lost(error.what, f"no function reset: {refused.what}") from refused
        try:
            header.command = header.command | Command.MEMORY
            took = self._wait("the device reset by a function reset")
        except DeviceTimeout as again:
            raise self._lost(error.what, "nor does a function reset help") from again
        self._rearm()
        self._late = False
        log.warning("%s: the function reset brought it back", self.function.name)
        return ResetDone(self.seconds + took, by_function=True)

    def _look_once(self) -> None:
        if not self._done():
            raise self._lost(f"the device reset that did not end within {self.seconds:g} s has not ended since", "")
        self._rearm()  # the function may have been reset meanwhile, without success
        self._late = False

    def _lost(self, what: str, also: str) -> DeviceTimeout:
        causes = [cause for cause in (self.function.diagnose(), also) if cause]
        return DeviceTimeout(what, device=self.function.name, cause="; ".join(causes), remedy=REMEDY)

    def _wait(self, what: str) -> float:
        return wait_until(self._done, self.seconds, what, self.function)

    def _done(self) -> bool:
        return self.common.device_status == 0
