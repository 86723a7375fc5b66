"""One run per device: a lock that goes with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from pathlib import Path
from typing import Self

from ..errors import LimitError, StateError, errno_name

ROOTS_OWN = Path("/run/vfiodpa")


def runtime_directory() -> Path:
    """Where locks lie: of root in /run, of others in their runtime directory, or else a temporary one."""
    if os.geteuid() == 0:
        return ROOTS_OWN
    own = os.environ.get("XDG_RUNTIME_DIR")
    return Path(own) / "vfiodpa" if own else Path(tempfile.gettempdir()) / f"vfiodpa-{os.geteuid()}"


class DeviceLock:
    """Held from the beginning to ``close``, or the end of the process. A context manager."""

    def __init__(self, device: str, directory: Path | None = None) -> None:
        """Raises ``StateError`` naming the process that has it, ``LimitError`` where no lock can be made."""
        directory = directory or runtime_directory()
        self.path = directory / f"{re.sub(r'[^0-9A-Za-z.-]', '-', device)}.lock"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            cause = errno_name(error.errno or 0)
            raise LimitError(f"cannot make the lock {self.path}", device=device, cause=cause) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "?"
            os.close(self._fd)
            raise StateError(
                "another run works on it", device=device, cause=f"pid {holder} holds {self.path}"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let go. The file stays: removing it would let two processes have two locks of one name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
