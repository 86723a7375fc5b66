"""Writes the example report of the software NIC: ``python -m docs.example_report``.

The picture wants a Chromium (``chromium`` or ``chromium-headless-shell``); without one it stays as it is.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

from vfiodpa.validate.check import all_checks, unchecked, wanted
from vfiodpa.validate.profiles import NIC_TODAY, in_profile, of_profile
from vfiodpa.validate.reports.files import Wanted
from vfiodpa.validate.results import Run
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.target import open_target

HERE = Path(__file__).parent / "examples"
DEVICE = "soft:mac=52:54:00:00:00:01,queues=2"
BROWSERS = ("chromium-headless-shell", "chromium")
SIZE = (1280, 1000)

log = logging.getLogger(__name__)


def example() -> Run:
    """What ``vfiodpa validate`` finds on the software NIC."""
    checks = of_profile(all_checks().values(), NIC_TODAY)
    with open_target(DEVICE) as target, Runner(target.function, target.wire, hooks=target.hooks) as runner:
        runner.calibrate()
        run = runner.run(checks, NIC_TODAY)
    checked, reasons = {check.clause.id for check in checks}, unchecked()
    clauses = [clause.id for clause in wanted() if in_profile(clause, NIC_TODAY)]
    run.unchecked = {clause: reasons.get(clause, "not written yet") for clause in clauses if clause not in checked}
    run.environment["kernel"] = run.environment["kernel"].partition("-")[0]
    return run


def picture(page: Path, target: Path) -> None:
    """The top of the page, as a browser shows it."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        log.warning("no Chromium here: %s stays as it is", target)
        return
    size = ",".join(map(str, SIZE))
    words = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--window-size={size}",
        f"--screenshot={target}",
    ]
    subprocess.run([browser, *words, page.as_uri()], check=True, capture_output=True, timeout=60)


def main() -> None:
    """Page and picture."""
    page = HERE / "validate-soft.html"
    HERE.mkdir(exist_ok=True)
    Wanted(html=page).write(example())
    picture(page, HERE / "validate-soft.png")


if __name__ == "__main__":
    main()
