"""The page of a run."""

from ..results import Run
from .compare import Comparison


def run_page(run: Run) -> str:
    return ""


def comparison_page(comparison: Comparison) -> str:
    return ""
