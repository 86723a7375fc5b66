"""What a check found, and how it says so.

A check returns when the device did right. Otherwise it raises: ``Deviation`` (the clause is broken), ``Suspicion``
(odd), ``Refused`` (the device refused, legally, what the check wanted to set up) or ``NotApplicable`` (nothing to
check here).
"""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """How a clause fared."""

    PASS = "pass"
    FAIL = "fail"  # a MUST is broken
    WARN = "warn"  # a SHOULD is not followed
    REJECT = "reject"  # the device refused what the check must set up; no verdict
    WEDGED = "wedged"  # it could not be brought back: the run ends here
    SKIP = "skip"  # with the reason
    INFO = "info"  # a permission, recorded

    @property
    def bad(self) -> bool:
        """Does it make the run fail?"""
        return self in (Verdict.FAIL, Verdict.WEDGED)


class Finding(Exception):
    """Base of what a check raises."""


class Deviation(Finding):
    """The device broke the clause: says what was seen, and what had to be."""


class Suspicion(Finding):
    """Odd, but no clause binds it here, or only one to come could allow it: a warning, however binding the clause."""


class Refused(Finding):
    """The device refused what the check needs."""


class NotApplicable(Finding):
    """There is nothing to check: says why."""


class Overdue(Finding):
    """The check's deadline passed: says what it was waiting for."""
