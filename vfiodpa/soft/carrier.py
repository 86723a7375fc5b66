"""The carrier of a software NIC whose wire leads out of the process: up while the port moves frames."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import errno_name
from .engine import Engine
from .options import Port, SoftOptions
from .wire_link import LinkKeeper, Peer
from .wire_watch import WireWatch

log = logging.getLogger(__name__)


class Carrier:
    """Tells the NIC when its port stops working or works again, and the log why.

    ``changed`` is called with the new state, in a thread of our own.
    """

    def __init__(self, name: str, options: SoftOptions, engine: Engine, changed: Callable[[bool], None]) -> None:
        self._name, self._engine, self._changed = name, engine, changed
        self._port = f"{options.port.name.lower()}={options.target}"
        self._file = options.captured
        self._quiet = options.port is Port.LINK  # who comes and goes is no trouble
        self._error = self._capture_error = 0
        self._keeper: LinkKeeper | None = None
        self._look()
        self._options = options
        self._watch: WireWatch | None = WireWatch(engine.wire.event, self._look, name)
        if self._quiet:
            self.join()

    def join(self) -> None:
        """Be on the wire of ``link=``, as soon as the other side is."""
        if self._keeper is None:
            options, engine = self._options, self._engine
            self._keeper = LinkKeeper(options.target, options.queues, self._name, self._attach, engine.link_detach)

    def leave(self) -> None:
        """Leave it, until ``join``. Not under the NIC's lock."""
        if self._keeper:
            self._keeper.close()
            self._keeper = None

    def close(self) -> None:
        """Join the threads; harmless twice. Not under the NIC's lock."""
        self.leave()
        if self._watch:
            self._watch.close()
            self._watch = None

    def trouble(self) -> str:
        """What does not work, in one line."""
        if self._error:
            return f"{self._port}: {'nobody is there' if self._quiet else errno_name(self._error)}"
        return f"capture to {self._file} stopped: {errno_name(self._capture_error)}" if self._capture_error else ""

    def _attach(self, peer: Peer) -> None:
        self._engine.link_attach(peer)

    def _look(self) -> None:
        """The reason is there before the link is: who sees the link down can ask why."""
        before = self._error
        self._error = error = self._engine.port_error()
        if error != before and not self._quiet:
            if error:
                log.warning("%s: %s: %s: link down", self._name, self._port, errno_name(error))
            else:
                log.warning("%s: %s: link up again", self._name, self._port)
        self._look_at_capture()
        if bool(error) != bool(before):
            self._changed(not error)

    def _look_at_capture(self) -> None:
        before, self._capture_error = self._capture_error, self._engine.capture_error()
        if self._capture_error and not before:
            why = errno_name(self._capture_error)
            log.warning("%s: capture to %s stopped: %s; the traffic goes on", self._name, self._file, why)
