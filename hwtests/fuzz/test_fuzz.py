"""Each fuzzing harness of csrc/fuzz for some seconds, under the sanitizers: a look, not a campaign (make fuzz)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HARNESSES = sorted(path.stem.removeprefix("fuzz_") for path in (ROOT / "csrc/fuzz").glob("fuzz_*.c"))
SECONDS = 10

pytestmark = pytest.mark.skipif(shutil.which("clang") is None, reason="no clang (Debian: apt-get install clang)")


@pytest.fixture(scope="module")
def built() -> None:
    """Compiled once, in build/fuzz."""
    subprocess.run(["tools/fuzz", "0"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL, timeout=600)


@pytest.mark.parametrize("harness", HARNESSES)
def test_nothing_is_found(built: None, harness: str) -> None:
    done = subprocess.run(
        ["tools/fuzz", str(SECONDS), harness],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DONE" in done.stdout
