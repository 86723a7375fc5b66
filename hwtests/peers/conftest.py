"""Fixtures of the tests with real peers. ``--backend dpdk`` proves the tests themselves, without our server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwtests import debian_kernel
from hwtests.peers.backend import EchoBackend, start_backend
from hwtests.peers.linux_guest import initramfs
from hwtests.peers.program import ProgramError
from hwtests.peers.testpmd import two_cpus


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=["vfiodpa", "dpdk"], default="vfiodpa", help="who serves the guest")


@pytest.fixture
def backend_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.config.getoption("--backend")
    return kind


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: a Unix socket's name has room for 107 bytes, and pytest's tmp_path can be longer."""
    path = Path(tempfile.mkdtemp(prefix="vfiodpa-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def server(backend_kind: str, directory: Path) -> Iterator[EchoBackend]:
    """A back end that echoes. It must live through the test and end in good order."""
    backend = start_backend(backend_kind, directory, cpu=two_cpus()[0])
    try:
        yield backend
        if not backend.program.running:
            raise ProgramError(f"the back end died during the test:\n{backend.program.output()}")
        backend.stop()
    finally:
        if backend.program.running:
            backend.program.kill()


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")


@pytest.fixture
def need_program() -> Callable[[str, str], None]:
    """Skip, with the command that mends it, when a program is missing."""
    return _need


@pytest.fixture(scope="session")
def boot_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What a Linux guest boots from: the kernel's directory, the initramfs. Skips where no guest can run."""
    for program, package in {
        "qemu-system-x86_64": "qemu-system-x86",
        "busybox": "busybox-static",
        "cpio": "cpio",
    }.items():
        _need(program, package)
    kernel_directory = debian_kernel.fetch()
    return kernel_directory, initramfs(kernel_directory, tmp_path_factory.mktemp("guest") / "initramfs.cpio")
