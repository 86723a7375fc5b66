"""Can this machine build vfiodpa? Says what is missing and the one command that mends it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path


def missing() -> Iterator[tuple[str, str]]:
    """Debian packages, with the reason for each."""
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        yield "python3-venv", "no virtual environments"
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        yield "python3-dev", f"no {header}"
    if not (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")):
        yield "gcc libc6-dev", "no C compiler"


def main() -> str | None:
    """What ``sys.exit`` takes: a sentence, or None when all is there."""
    if sys.version_info < (3, 11):  # noqa: UP036 - that is the question here
        return f"vfiodpa needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PYTHON=python3.11 ..."
    found = list(missing())
    if not found:
        return None
    reasons = ", ".join(reason for _, reason in found)
    return f"vfiodpa cannot be built here ({reasons}): apt-get install {' '.join(package for package, _ in found)}"


if __name__ == "__main__":
    sys.exit(main())
