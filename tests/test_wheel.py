"""What a user installs: every file of the package is in the wheel, and the wheel works without this tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

TREE = Path(__file__).parents[1]
BUILT = shutil.ignore_patterns(".*", "build*", "dist", "__pycache__", "tests", "hwtests", "benchmarks", "docs")


def package_files() -> set[str]:
    """All files of the package in the tree, as ``vfiodpa/...``."""
    files = (path for path in (TREE / "vfiodpa").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(TREE)) for path in files} - {"vfiodpa/meson.build"}


def run(*argv: str | Path, cwd: Path) -> str:
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # meson and ninja
    done = subprocess.run(
        [str(arg) for arg in argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PATH": tools},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy without anything that was built before: what a fresh clone gives."""
    work = tmp_path_factory.mktemp("wheel")
    clone = work / "clone"
    shutil.copytree(TREE, clone, ignore=BUILT)
    shutil.copytree(TREE / "csrc" / "tests", clone / "csrc" / "tests")  # meson wants it
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run(*pip, "--wheel-dir", work, clone, cwd=work)
    return next(work.glob("vfiodpa-*.whl"))


@pytest.mark.timeout(240)
def test_wheel_holds_every_file(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("vfiodpa/")}
    assert inside - package_files() == {"vfiodpa/_native.abi3.so"}
    assert package_files() <= inside


@pytest.mark.timeout(240)
def test_wheel_works_in_another_environment(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    # numpy, cffi and so on from here, so that this needs no network: a path alone loads no editable install.
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("platlib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    where = run(python, "-c", "import vfiodpa._native as native; print(native.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(tmp_path)
    assert run(tmp_path / "venv" / "bin" / "vfiodpa", "--version", cwd=tmp_path).startswith("vfiodpa 0.")
