"""Which clauses a device has to follow: those of a version of the specification, or what NICs of today can."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UsageError
from ..spec.clauses import VERSIONS, Clause
from ..spec.features import Feature
from .check import Check

NIC_TODAY = "nic-today"
# No administration queue, flow filter, IPsec or RSS contexts yet; whatever else 1.4 says holds.
NOT_TODAY = Feature.ADMIN_VQ | Feature.NET_IPSEC | Feature.NET_RSS_CONTEXT
PROFILES = (*VERSIONS, NIC_TODAY)


def in_profile(clause: Clause, profile: str) -> bool:
    """Does the profile ask for it? Raises ``UsageError`` for a profile that does not exist."""
    if profile == NIC_TODAY:
        return not clause.features & NOT_TODAY
    if profile not in VERSIONS:
        raise UsageError(f"there is no profile {profile}", cause=f"there are {', '.join(PROFILES)}")
    return clause.holds_in(profile)


def of_profile(checks: Iterable[Check], profile: str) -> list[Check]:
    """The checks that a profile asks for."""
    return [check for check in checks if in_profile(check.clause, profile)]
