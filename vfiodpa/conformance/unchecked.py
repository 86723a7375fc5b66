"""Clauses that have no check, and why. A test holds this and the checks against the clause table."""

from __future__ import annotations

UNCHECKED: dict[str, str] = {
    # Status, features, reset
    "FEAT-6": "the reason for FEAT-5: no requirement",
    "RFB-2": "a permission: no device can break it",
    "RFB-4": "a permission: no device can break it",
    "RFB-6": "a permission: no device can break it",
    "RFB-7": "a permission: no device can break it",
    "SHM-1": "what a region does cannot be seen from outside (P-SHM looks at where regions are)",
    # PCI
    "P-ID-3": "a permission: no device can break it (reports show the subsystem ids)",
    "P-CAP-2": "a permission: no device can break it",
    "P-COM-5": "a permission: no device can break it (FEAT-3 looks at what such bits do)",
    "P-VND-1": "says what is allowed: no requirement",
    "P-VND-2": "says what is allowed: no requirement",
    "P-MSX-3": "useful is not defined (reports show the number of vectors)",
    "P-LEG-1": "no legacy device had a non-transitional device's id; the write it tells of makes the BARs vanish",
    "X-3": "a permission: no device can break it (P-CAP-3 looks at the order)",
    "X-4": "a permission: no device can break it",
    "X-5": "a permission: no device can break it",
    # Network device
    "N-CFG-9": "a permission: no device can break it",
    "U-15": "times are noted, not judged: RST-1 and P-COM-7 note how long resets take",
}
