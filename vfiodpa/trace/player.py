"""Where a driver stands in a script: what it may do next, and what it reads there."""

from __future__ import annotations

from .. import errors
from ..errors import DeviceError, Unsupported, VfiodpaError
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_pci import CommonCfg
from .names import Names
from .places import Image
from .records import Access, Record, Reset
from .script import Key, Script, Step

REMEDY = "record it again where the driver is meant to do so"


class Player:
    """Steps through a script. ``name`` of the function, for errors."""

    def __init__(self, script: Script, names: Names, config: bytes, name: str) -> None:
        self.script = script
        self.name = name
        self._names = names
        self._config = Image(bytearray(config))
        self._at = 0
        self._end = len(script.steps)
        self._taken: dict[Key, int] = {}
        self._skipped = 0
        self._loose = False  # quieted where the recording was not any more: nothing is known of what follows
        self.left_where = ""  # the first time that a step came before its time

    @property
    def left(self) -> int:
        """Recorded steps that the driver did not take: a reset passed over them, or they lie behind its last one."""
        behind = self.script.steps[self._at + 1 : self._end]
        return self._skipped + sum(step.record is not None for step in behind)

    def seek(self, mark: str) -> None:
        """Go to a part of the work; nothing where the recording has no parts. Raises ``Unsupported``."""
        if not self.script.marks:
            return
        if mark not in self.script.marks:
            raise Unsupported(f"the recording has no part {mark!r}", device=self.name)
        self._go(self.script.marks[mark])
        self._end = self.script.end_of(mark)
        self._skipped, self._loose, self.left_where = 0, False, ""

    # Reads

    def read(self, key: Key) -> int:
        """What the recorded driver read there, here. Raises ``DeviceError`` where it read nothing."""
        stream = self._step.reads.get(key)
        if stream is None:
            return self._unread(key)
        taken = self._taken.get(key, 0)
        self._taken[key] = taken + 1
        found = stream[min(taken, len(stream) - 1)]
        _raise(found.error, self.name)
        if key[0] == "config":
            self._config.write(key[1], key[2], found.value)
        return found.value

    def _unread(self, key: Key) -> int:
        space, offset, width = key
        if space == "config":  # memory, but for what writes and reads have shown
            return self._config.read(offset, width)
        if self._loose and self._is_status(key):
            return 0
        asked = Access(space, offset, width, 0, write=False)
        raise DeviceError(
            f"the recording has no value of {self._register(asked)} here",
            device=self.name,
            cause=f"the driver reads it {self._where()}, the recorded one did not",
            remedy=REMEDY,
        )

    # Steps

    def write(self, access: Access) -> None:
        """Take the next step, which must be this write."""
        self._step_to(access)
        self._names.line(access)  # it follows what is selected
        if access.space == "config":
            self._config.write(access.offset, access.width, access.value)
        _raise("" if self._loose else self._step.error, self.name)

    def reset(self) -> None:
        """Take the next step, which must be a reset of the function."""
        self._step_to(Reset())
        _raise("" if self._loose else self._step.error, self.name)

    def _step_to(self, did: Access | Reset) -> None:
        if self._loose and (self._quiets(did) or (isinstance(did, Access) and did.space == "config")):
            return
        following = self._following()
        expected = self.script.steps[following] if following < self._end else None
        if not self._loose and expected and expected.record and _same(expected.record, did):
            self._go(following)
        elif self._quiets(did):
            self._jump(expected, did)
        else:
            raise self._diverged(expected, did)

    def _following(self) -> int:
        """The next step that does something: a mark does nothing."""
        return next((at for at in range(self._at + 1, self._end) if self.script.steps[at].record), self._end)

    def _jump(self, expected: Step | None, did: Access | Reset) -> None:
        """A driver may leave off before its time: what a device does once it is quiet is known."""
        if expected and not self.left_where:
            self.left_where = self._both(expected, did)
        steps = self.script.steps
        later = [at for at in range(self._at + 1, self._end) if (one := steps[at].record) and _same(one, did)]
        target = later[0] if later else self._end
        self._skipped += sum(step.record is not None for step in steps[self._at + 1 : target])
        if later:
            self._go(target)
        else:
            self._at, self._loose = self._end - 1, True

    def _go(self, step: int) -> None:
        self._at = step
        self._taken.clear()

    @property
    def _step(self) -> Step:
        return self.script.steps[self._at] if not self._loose else Step(0)

    # Words

    def _diverged(self, expected: Step | None, did: Access | Reset) -> VfiodpaError:
        if self.left_where:
            what, cause = "the driver left the recording", f"{self.left_where}; then {self._words(did)}"
        elif expected is None:
            what, cause = f"the recording ends {self._where()}", f"the driver went on: {self._words(did)}"
        else:
            what, cause = "the driver diverges from the recording", self._both(expected, did)
        return DeviceError(what, device=self.name, cause=cause, remedy=REMEDY)

    def _both(self, expected: Step, did: Access | Reset) -> str:
        recorded = self._words(expected.record) if expected.record else ""
        return f"record {expected.number}: {recorded}; the driver: {self._words(did)}"

    def _where(self) -> str:
        step = self.script.steps[self._at]
        return f"after record {step.number} ({self._words(step.record)})" if step.record else "at the beginning"

    def _words(self, record: Record) -> str:
        return " ".join(str(self._names.line(record)).split())

    def _register(self, access: Access) -> str:
        return self._names.line(access).name

    def _is_status(self, key: Key) -> bool:
        place = self._names.place(key[0], key[1])
        return bool(place and place.block is CommonCfg and key[1] - place.base == CommonCfg.device_status.offset)

    def _quiets(self, did: Access | Reset) -> bool:
        """Does it reset the device (2.4), or take its DMA away?"""
        if isinstance(did, Reset):
            return False
        if (did.space, did.offset, did.width) == ("config", ConfigHeader.command.offset, ConfigHeader.command.width):
            return not did.value & Command.BUS_MASTER
        return did.value == 0 and self._is_status((did.space, did.offset, did.width))


def _same(recorded: Access | Reset, did: Access | Reset) -> bool:
    if isinstance(recorded, Access) and isinstance(did, Access):
        return (recorded.space, recorded.offset, recorded.width, recorded.value) == (
            did.space,
            did.offset,
            did.width,
            did.value,
        )
    return isinstance(recorded, Reset) and isinstance(did, Reset)


def _raise(error: str, device: str) -> None:
    """As the recorded call ended."""
    if not error:
        return
    name, _, what = error.partition(": ")
    kind = getattr(errors, name, DeviceError)
    if not (isinstance(kind, type) and issubclass(kind, VfiodpaError)):
        kind = DeviceError
    raise kind(what, device=device, cause="as recorded")
