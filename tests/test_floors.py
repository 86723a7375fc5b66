"""Imports only go down the house (DESIGN 2)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vfiodpa

ROOT = Path(__file__).parent.parent / "vfiodpa"

# From the roof to the ground. The package's own __init__ is the Python API: it sits on everything but
# the command line. The mechanism files share one floor.
MECHANISM = ("registers", "layout", "ioctl", "memory", "errors", "readable", "whole_file", "_native")
FLOORS = (
    "__main__",
    "cli",
    "__init__",
    "conformance",
    "validate",
    "doctor",
    "vdpa",
    "frontends",
    "guest",
    "trace",
    "drivers",
    "vfio",
    "soft",
    "pci",
    "spec",
)
GROUND = len(FLOORS)

MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))


def floor(module: str) -> int:
    """Floor number of ``drivers/device`` and the like, 0 the highest. Unknown rooms raise."""
    room = module.split("/", maxsplit=1)[0]
    if room in MECHANISM:
        return GROUND
    return FLOORS.index(room)


def target(package: list[str], name: str) -> str:
    """``package`` and the name imported from it -> the module that this loads."""
    path = ROOT.joinpath(*package, name)
    if path.is_dir() or path.with_suffix(".py").exists() or path.with_suffix(".pyi").exists():
        return "/".join([*package, name])
    return "/".join(package) or "__init__"


def imports(module: str, source: str) -> set[str]:
    """Modules of ours that a module imports; those inside functions and TYPE_CHECKING count too."""
    here = module.split("/")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else []
            parts = node.module.split(".") if node.module else []
            if not node.level and parts[:1] != [vfiodpa.__name__]:
                continue
            package = [*start, *(parts if node.level else parts[1:])]
            found |= {target(package, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {"/".join(n[1:]) or "__init__" for n in names if n[0] == vfiodpa.__name__}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_go_down(module: str) -> None:
    used = imports(module, ROOT.joinpath(module + ".py").read_text())
    assert sorted(u for u in used if floor(u) < floor(module)) == []


def test_every_module_has_a_floor() -> None:
    assert len(MODULES) > 20
    for module in MODULES:
        floor(module)


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("drivers/")])
def test_a_driver_never_learns_which_function_it_has(module: str) -> None:
    used = imports(module, ROOT.joinpath(module + ".py").read_text())
    assert [u for u in used if u.split("/")[0] in ("vfio", "soft")] == []


def test_only_its_own_record_knows_the_software_nic() -> None:
    users = [m for m in MODULES if m.startswith("drivers/") and "softnic" in ROOT.joinpath(m + ".py").read_text()]
    assert users == ["drivers/registry", "drivers/softnic"]


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("pci/function", "from ..memory import Iova", {"memory"}),
        ("pci/function", "from .. import memory, errors", {"memory", "errors"}),
        ("pci/function", "from . import capabilities", {"pci/capabilities"}),
        ("pci/function", "from .capabilities import walk", {"pci/capabilities"}),
        ("pci/function", "import vfiodpa.drivers.device", {"drivers/device"}),
        ("pci/function", "from vfiodpa.drivers import device", {"drivers/device"}),
        ("pci/function", "from vfiodpa import open", {"__init__"}),
        ("pci/function", "def f():\n    from ..drivers.device import VdpaDevice", {"drivers/device"}),
        ("pci/function", "if TYPE_CHECKING:\n    from ..drivers.device import VdpaDevice", {"drivers/device"}),
        ("pci/function", "import os.path\nfrom pathlib import Path", set()),
        ("memory", "from .errors import check\nfrom ._native import lib", {"errors", "_native"}),
    ],
)
def test_how_imports_are_found(module: str, line: str, found: set[str]) -> None:
    assert imports(module, line) == found


def test_an_import_that_goes_up_is_seen() -> None:
    used = imports("spec/features", "from ..drivers.device import VdpaDevice")
    assert all(floor(u) < floor("spec/features") for u in used)
    assert floor("memory") == floor("layout") == GROUND
