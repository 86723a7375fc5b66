"""Where the text of virtio 1.4 cannot be meant as it stands, and how the checks read it instead.

A device is not failed for following either reading.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Erratum:
    """``where``: clauses or blocks. ``problem``: what the text says; ``reading``: what we take it to mean."""

    where: str
    problem: str
    reading: str


ERRATA: tuple[Erratum, ...] = (
    Erratum("N-CFG-10", "the unknown speed has nine hexadecimal digits, the field 32 bits", "0x7fffffff, 0xffffffff"),
    Erratum(
        "N-CFG-11",
        "the requirement has full and half duplex the other way round than the field's own text, and than Linux",
        "any of 0, 1 and 0xff",
    ),
    Erratum("P-NTF", "notify_off_multiplier is to be an even power of 2", "0, or a power of two from 2 on"),
    Erratum("N-RX", "GUEST_UDP is named, which is no feature", "GUEST_UFO"),
    Erratum("N-TX", "a typing error where MUST NOT has to stand", "MUST NOT"),
    Erratum("FEAT-1", "RSC_EXT is said to need HOST_TSO4 or HOST_TSO6", "a receive feature: GUEST_TSO4 or GUEST_TSO6"),
    Erratum("N-RXB, N-RX", "num_buffers counts descriptors in one place and buffers in another", "buffers"),
    Erratum(
        "ADC, LGI",
        "one command has two names; a status is misspelt; two part names have no value; ranges of part types "
        "contradict each other",
        "not tested",
    ),
    Erratum(
        "OBJ, N-FF",
        "MODIFY is 0xb and QUERY 0xc in their sections, the other way round in the table of commands",
        "either: it is found out with an object of its own",
    ),
    Erratum(
        "CAP", "how a capability is disabled is not said", "it was not set, or set to no limits, selectors, actions"
    ),
    Erratum(
        "N-FF-9",
        "last_rule_priority is the highest priority in its description, and the first that must fail in the "
        "requirement",
        "what is above it must fail",
    ),
    Erratum(
        "N-FF-21",
        "PARTIAL_MASK is a flag of a selector where it is defined, and of the command in the requirement",
        "either",
    ),
    Erratum(
        "N-RX", "the bits of CTRL_GUEST_OFFLOADS for UDP tunnels are 46 and 47, the features 65 and 66", "as written"
    ),
    Erratum(
        "N-RX-22",
        "an example has outer_th_offset behind the outer UDP header (42), the text at it (34)",
        "34, as the text and Linux have it; 42 is no failure",
    ),
    Erratum(
        "P-NTF",
        "NOTIFICATION_DATA is named where the doorbell carries queue_notif_config_data",
        "VIRTIO_F_NOTIF_CONFIG_DATA",
    ),
    Erratum(
        "P-COM",
        "1.2 leaves open which value queue_reset has while the queue is reset",
        "1 until it is done, then 0 together with queue_enable, as 1.3 says",
    ),
    Erratum(
        "U",
        "no requirement covers event suppression and indirect descriptors of packed rings, unknown control commands, "
        "the bounds of MQ, guest offloads that change, what NOTIFICATION_DATA carries, or buffers without a byte",
        "tested as behaviour that drivers rely on",
    ),
)
