"""How mutants get between an administration command and what carries it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..admin import AdminQueue

if TYPE_CHECKING:
    from ..virtio_net import VirtioNet

CarryOut = Callable[[int, int, bytes], bytes]
WithQueue = Callable[[AdminQueue, CarryOut, int, int, bytes], bytes]


def commands(twist: WithQueue) -> Callable[[VirtioNet], None]:
    """Carry commands out another way: ``twist`` has the queue, the right way, opcode, group and data."""

    def patch(nic: VirtioNet) -> None:
        queue = nic.admin
        if queue:
            right = queue.carry_out
            replacement: Any = lambda opcode, group, data: twist(queue, right, opcode, group, data)  # noqa: E731
            queue.carry_out = replacement  # type: ignore[method-assign]

    return patch
