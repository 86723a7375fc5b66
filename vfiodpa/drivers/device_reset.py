"""Device reset: with a deadline, and without a second wait for a device that missed it."""

from __future__ import annotations

from ..errors import DeviceTimeout
from ..pci.function import PciFunction
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_pci import CommonCfg, DeviceStatus
from .waiting import wait_until


class DeviceReset:
    """Call it to reset the device; returns the seconds that it took.

    A device that does not finish in time may still do DMA, so Bus Master is taken from it. Until it
    has finished, later calls look once and do not wait: the event loop serves others meanwhile.
    """

    def __init__(self, function: PciFunction, common: CommonCfg, seconds: float) -> None:
        self.function = function
        self.common = common
        self.seconds = seconds
        self._late = False

    def __call__(self) -> float:
        """Raises ``DeviceTimeout``."""
        self.common.device_status = DeviceStatus(0)  # 2.4.1
        try:
            took = self._wait()
        except DeviceTimeout:
            self._late = True
            header = ConfigHeader(self.function.config)
            header.command = header.command & ~Command.BUS_MASTER
            raise
        self._late = False
        return took

    def _wait(self) -> float:
        if not self._late:
            # 4.1.4.3.2: not initialised again before the status reads 0
            return wait_until(self._done, self.seconds, "the device reset", self.function)
        if not self._done():
            raise DeviceTimeout(
                f"the device reset that did not end within {self.seconds:g} s has not ended since",
                device=self.function.name,
                cause=self.function.diagnose(),
                remedy="reset the function or power the machine off and on",
            )
        return 0.0

    def _done(self) -> bool:
        return self.common.device_status == 0
