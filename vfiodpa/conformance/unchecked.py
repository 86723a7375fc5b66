"""Clauses that have no check, and why. A test holds this and the checks against the clause table."""

from __future__ import annotations

OWNER = "wants the owner function with virtual functions of its own: there is no bench for that yet"
RECORDED = "a permission or a reason: there is nothing to decide"

_NO_IPSEC = "wants IPsec: the software NIC has none, and no NIC of today does"


def _because(reason: str, clauses: str) -> dict[str, str]:
    return dict.fromkeys(clauses.split(), reason)


_ADMIN = {
    **_because(
        OWNER,
        "ADC-1 ADC-4 ADC-10 ADC-19 ADC-20 CAP-5 CAP-6 PRT-1 PRT-2 PRT-3 PRT-4 PRT-5 PRT-6 PRT-7 PRT-9 "
        "PRT-10 PRT-11 PRT-12 PRT-13 PRT-14 PRT-15 PRT-16 PRT-17 PRT-18 PRT-19 PRT-20 PRT-21 PRT-22 "
        "PRT-23 PRT-25 PRT-26 PRT-27 PRT-28 PRT-29 PRT-30 PRT-31 PRT-32 LGI-1 LGI-2 LGI-3 LGI-4 LGI-5 "
        "LGI-6 LGI-7 LGI-8 LGI-9 LGI-10 LGI-11 LGI-12 LGI-13 LGI-14 LGI-15 LGI-17",
    ),
    **_because(RECORDED, "ADC-9 ADC-11 ADC-18 ADQ-10 CAP-4 OBJ-7 PRT-8 PRT-24 LGI-16"),
}

_REGISTERS = {
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

_RINGS = {
    "USD-3": "a permission: no device can break it (USD-2 notes what it does)",
    "ANS-2": "a permission: no device can break it (ANS-1 notes what it does)",
    "PKV-3": "a permission, and a driver that looks at slots in their order cannot tell",
    "X-13": "a permission: no device can break it (ANS-5 notes what it does)",
}

_NETWORK = {
    "N-TX-3": "a permission: no device can break it",
    "N-TX-5": "a permission: no device can break it",
    "N-TX-6": "a permission: no device can break it (N-TX-7 tries wrong hints)",
    "N-TX-13": _NO_IPSEC,
    "N-RX-15": "a permission: no device can break it",
    "N-RX-17": "a permission: no device can break it (N-RX-18 to N-RX-20 look at what it does)",
    "N-RX-29": "a permission: no device can break it (N-RX-30 looks at what it does)",
    "N-RX-32": "a permission: no device can break it (N-RX-33 and N-RX-34 look at what it does)",
    **{f"N-RX-{number}": _NO_IPSEC for number in range(35, 42)},
    "N-COAL-7": "a permission: no device can break it",
    "N-STAT-6": "64-bit counters do not wrap within anybody's time",
    "N-FF-17": "a permission: no device can break it",
    **{f"N-IPS-{number}": _NO_IPSEC for number in range(1, 11)},
    # Rules in running text
    "X-6": _NO_IPSEC,
    "X-11": "a permission: no device can break it",
}

UNCHECKED: dict[str, str] = {**_REGISTERS, **_RINGS, **_NETWORK, **_ADMIN}
