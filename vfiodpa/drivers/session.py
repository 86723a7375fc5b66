"""What the generic driver keeps of a device: counters, and what a reset forgets."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..spec.features import NONE, Feature
from .device import QueueSetup


@dataclass(slots=True)
class Counters:
    """What the driver did since it was opened."""

    resets: int = 0
    reset_us: int = 0  # how long the last one took
    function_resets: int = 0  # those of them that needed a reset of the function
    queue_starts: int = 0
    queue_stops: int = 0
    kicks: int = 0


@dataclass(slots=True)
class Session:
    """What a reset forgets."""

    negotiated: Feature = NONE
    running: dict[int, QueueSetup] = field(default_factory=dict)
    stuck: bool = False  # a queue did not stop: no use in asking it again
    logging: bool = False  # the dirty log is on
