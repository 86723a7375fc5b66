"""Vendor registers of Intel's FPGA virtio NICs (IFCVF): the live-migration (LM) block in BAR 4.

Ref: DPDK, drivers/vdpa/ifc; Linux 6.12, drivers/vdpa/ifcvf. No specification is public. The two agree on
the identity and on the first pair's states; they disagree on where the states of further queues are and
on which half of them counts.
"""

from __future__ import annotations

from enum import IntEnum

from ..registers import RegisterBlock, reg, reg_array

SUBSYSTEM_VENDOR_ID = 0x8086
N3000_SUBSYSTEM_ID = 0x001A  # with the modern network id
C5000X_SUBSYSTEM_ID = 0x0001  # with the transitional one; F2000X too
LM_BAR = 4
MAX_PAIRS = 32
PAIR_STRIDE = 0x40  # bytes between the states of two pairs
DIRTY_PAGE = 4096  # bytes that one bit of the log stands for


class LogControl(IntEnum):
    """``log_control``. (A physical function would take 3 for on.)"""

    OFF = 0
    ON = 1


class Lm(RegisterBlock, size=0x20, ref="IFCVF, BAR 4"):
    """Dirty log: while on, the bit of each page that packets are written to is set in ``log_base`` .. ``log_end``.

    Addresses are the device's (IOVA). Bit n of the bitmap is page n of the IOVA space. Used rings are not logged.
    """

    log_control = reg(0x00, 32)
    log_base = reg(0x10, 64)
    log_end = reg(0x18, 64)  # the byte after the last


class LmByPair(Lm, size=0x2C, ref="IFCVF, BAR 4 as DPDK and older Linux have it"):
    """A queue's state: available index in the low half, used index in the high half.

    These are the first pair's; those of pair p lie ``p * PAIR_STRIDE`` further on.
    """

    receive_state = reg(0x20, 32)
    transmit_state = reg(0x24, 32)
    active_pairs = reg(0x28, 32)  # pairs that received frames are spread over


class LmByQueue(Lm, size=0x120, ref="IFCVF, BAR 4 as Linux 6.12 has it"):
    """A queue's state: its available index only. There is no room for ``active_pairs``."""

    avail = reg_array(0x20, 16, 2 * MAX_PAIRS, stride=4)
