"""Can this machine build vfiodpa? Says what is missing and the one command that mends it. Runs on any Python 3."""

import importlib.util
import os
import shutil
import sys
import sysconfig


def missing():
    """Debian packages, with the reason for each."""
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        yield "python3-venv", "no virtual environments"
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        yield "python3-dev", "no " + header
    if not (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")):
        yield "gcc libc6-dev", "no C compiler"


def main():
    if sys.version_info < (3, 11):
        version = ".".join(map(str, sys.version_info[:3]))
        return "vfiodpa needs Python 3.11 or newer, this is %s: make PYTHON=python3.11 ..." % version
    found = list(missing())
    if not found:
        return 0
    reasons = ", ".join(reason for _, reason in found)
    return "vfiodpa cannot be built here (%s): apt-get install %s" % (reasons, " ".join(name for name, _ in found))


if __name__ == "__main__":
    sys.exit(main())
