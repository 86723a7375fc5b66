"""Device groups and administration commands.

Ref: virtio 1.4, the device requirements of these chapters, in our own words.
"""

from __future__ import annotations

from ..features import Feature
from .clause import Block, row

F = Feature

# fmt: off
ADC = Block("ADC", "Device groups / Group administration commands", (
    row(1, "MUST", "1.3", "O",
        "validate opcode, group_type, group_member_id; bad => status EINVAL + qualifier", F.ADMIN_VQ),
    row(2, "MUST", "1.3", "D", "invalid group_type => Q_INVALID_GROUP", F.ADMIN_VQ),
    row(3, "MUST", "1.3", "D", "else invalid opcode => Q_INVALID_OPCODE", F.ADMIN_VQ),
    row(4, "MUST", "1.3", "O", "else invalid member id (where used) => Q_INVALID_MEMBER", F.ADMIN_VQ),
    row(5, "MUST", "1.3", "D", "success => status OK", F.ADMIN_VQ),
    row(6, "MUST", "1.3", "D", "failure => status != OK", F.ADMIN_VQ),
    row(7, "MUST_NOT", "1.3", "D", "EINVAL => no state change, no side effect, no error state", F.ADMIN_VQ),
    row(8, "SHOULD_NOT", "1.3", "D", "any failed command changes device state", F.ADMIN_VQ),
    row(9, "MAY", "1.3", "N", "restrict combinations in LIST_USE; fail with EINVAL/Q_INVALID_FIELD", F.ADMIN_VQ),
    row(10, "MUST", "1.3", "O", "commands of different group types operate independently", F.ADMIN_VQ),
    row(11, "MAY", "1.3", "N", "report different lists per group type", F.ADMIN_VQ),
    row(12, "MUST", "1.3", "D",
        "after reset and before LIST_USE the only legal commands are LIST_QUERY and LIST_USE", F.ADMIN_VQ),
    row(13, "MUST", "1.3", "D", "after LIST_USE the legal list is the one given", F.ADMIN_VQ),
    row(14, "MUST", "1.3", "D", "fail commands outside the list with EINVAL/Q_INVALID_OPCODE", F.ADMIN_VQ),
    row(15, "MUST_NOT", "1.3", "D", "shrink the list of supported commands (MAY expand)", F.ADMIN_VQ),
    row(16, "SHOULD", "1.3", "D", "after a reset, accept LIST_USE of a list used before", F.ADMIN_VQ),
    row(17, "MUST_NOT", "1.3", "D", "fail LIST_USE after a reset solely because of the list", F.ADMIN_VQ),
    row(18, "MAY", "1.3", "N",
        "exceptions when the driver surely does not cache (firmware up/downgrade)", F.ADMIN_VQ),
    row(19, "MUST", "1.3", "O",
        "SR-IOV group: no SR-IOV capability or VF Enable clear => EINVAL/Q_INVALID_GROUP", F.ADMIN_VQ),
    row(20, "MUST", "1.3", "O", "SR-IOV group: member id not in 1..NumVFs => EINVAL/Q_INVALID_MEMBER", F.ADMIN_VQ),
))

ADQ = Block("ADQ", "Basic Facilities of a Virtio Device / Administration virtqueues", (
    row(1, "MUST", "1.3", "D", "accept shorter readable buffers, missing data read as zero", F.ADMIN_VQ),
    row(2, "MUST", "1.3", "D", "accept shorter writable buffers, excess result discarded", F.ADMIN_VQ),
    row(3, "MUST", "1.3", "D", "accept longer readable buffers, ignoring the excess", F.ADMIN_VQ),
    row(4, "MUST", "1.3", "D",
        "accept longer writable buffers: write only the structure, report the true length", F.ADMIN_VQ),
    row(5, "SHOULD", "1.3", "D", "initialise the writable buffer up to min(struct, buffer) even if zero", F.ADMIN_VQ),
    row(6, "MUST_NOT", "1.3", "D", "fail a command only because of buffer length", F.ADMIN_VQ),
    row(7, "MUST", "1.3", "D",
        "initialise the writable part of struct virtio_admin_cmd as a multiple of 64 bit", F.ADMIN_VQ),
    row(8, "MUST", "1.3", "D", "initialise status and status_qualifier", F.ADMIN_VQ),
    row(9, "MUST", "1.3", "D", "process commands of one admin vq in order", F.ADMIN_VQ),
    row(10, "MAY", "1.3", "N", "no ordering across admin vqs", F.ADMIN_VQ),
    row(11, "MUST_NOT", "1.3", "F", "EAGAIN/ENOMEM => no side effects", F.ADMIN_VQ),
))

CAP = Block("CAP", "Group administration commands / Device and driver capabilities", (
    row(1, "MUST", "1.4", "D",
        "capabilities supported => support CAP_ID_LIST_QUERY, DRIVER_CAP_SET, DEVICE_CAP_GET", F.ADMIN_VQ),
    row(2, "MUST", "1.4", "D", "DRIVER_CAP_SET accepts a resource limit <= the device's", F.ADMIN_VQ),
    row(3, "MUST", "1.4", "D",
        "DRIVER_CAP_SET accepts any subset of flag bits (unless the field is non-writable)", F.ADMIN_VQ),
    row(4, "MAY", "1.4", "N", "refuse a larger limit / an unsupported flag with EINVAL", F.ADMIN_VQ),
    row(5, "MUST", "1.4", "O",
        "ID_LIST_QUERY, DRIVER_CAP_GET (sic: no such opcode, read DEVICE_CAP_GET), DRIVER_CAP_SET "
        "outside the self group => EINVAL", F.ADMIN_VQ),
    row(6, "SHOULD", "1.4", "O", "same clause repeated as SHOULD (spec duplication)", F.ADMIN_VQ),
    row(7, "SHOULD", "1.4", "D", "disable a capability that still has objects => EBUSY", F.ADMIN_VQ),
    row(8, "SHOULD", "1.4", "D", "DEVICE_CAP_GET / DRIVER_CAP_SET with an unreported id => ENXIO", F.ADMIN_VQ),
    row(9, "MUST", "1.4", "D", "device reset resets all driver capabilities", F.ADMIN_VQ),
    row(10, "SHOULD", "1.4", "D", "unset driver resource limit counts as zero", F.ADMIN_VQ),
))

OBJ = Block("OBJ", "Group administration commands / Device resource objects", (
    row(1, "SHOULD", "1.4", "D", "CREATE with an existing id => EEXIST", F.ADMIN_VQ),
    row(2, "SHOULD", "1.4", "D", "MODIFY/QUERY/DESTROY of a missing object => ENXIO", F.ADMIN_VQ),
    row(3, "SHOULD", "1.4", "D", "CREATE fails for lack of room => ENOSPC", F.ADMIN_VQ),
    row(4, "SHOULD", "1.4", "D", "MODIFY/DESTROY while others depend on it => EBUSY", F.ADMIN_VQ),
    row(5, "MUST", "1.4", "D", "re-CREATE after DESTROY without device reset", F.ADMIN_VQ),
    row(6, "SHOULD", "1.4", "D", "CREATE allowed with any free id", F.ADMIN_VQ),
    row(7, "MAY", "1.4", "N", "CREATE fails at an internal limit", F.ADMIN_VQ),
    row(8, "SHOULD", "1.4", "D", "allow as many objects as the driver capability says", F.ADMIN_VQ),
    row(9, "MUST_NOT", "1.4", "D", "failed MODIFY has side effects on the object", F.ADMIN_VQ),
    row(10, "MUST", "1.4", "D", "QUERY returns the data of the last CREATE/MODIFY", F.ADMIN_VQ),
    row(11, "MUST", "1.4", "D", "device reset destroys all objects", F.ADMIN_VQ),
))

PRT = Block("PRT", "Group administration commands / Device parts", (
    row(1, "MUST", "1.4", "O",
        "support all or none of METADATA_GET, PARTS_GET, PARTS_SET, "
        "OBJ_CREATE/DESTROY/MODIFY/QUERY, DEV_MODE_SET", F.ADMIN_VQ),
    row(2, "MUST", "1.4", "O", "PARTS_GET may be repeated", F.ADMIN_VQ),
    row(3, "MUST", "1.4", "O", "PARTS_GET answers in the table order", F.ADMIN_VQ),
    row(4, "SHOULD", "1.4", "O", "PARTS_SET on a not-stopped device => error", F.ADMIN_VQ),
    row(5, "MUST", "1.4", "O", "PARTS_SET may repeat same/different parts", F.ADMIN_VQ),
    row(6, "MUST", "1.4", "O", "length mismatch in PARTS_SET => error", F.ADMIN_VQ),
    row(7, "MUST_NOT", "1.4", "O", "PARTS_SET changes DEV_FEATURES; verify they match instead", F.ADMIN_VQ),
    row(8, "MAY", "1.4", "N", "ignore an OPTIONAL part", F.ADMIN_VQ),
    row(9, "MUST_NOT", "1.4", "O", "stopped (SR-IOV): initiate any PCI transaction", F.ADMIN_VQ),
    row(10, "MUST", "1.4", "O", "stopped: finish outstanding transactions before completing MODE_SET", F.ADMIN_VQ),
    row(11, "MUST", "1.4", "O", "stopped: write the descriptors of all observed buffers", F.ADMIN_VQ),
    row(12, "MUST", "1.4", "O", "stopped: accept doorbells (MAY update parts)", F.ADMIN_VQ),
    row(13, "MUST", "1.4", "O", "stopped: answer PCI reads with valid values", F.ADMIN_VQ),
    row(14, "MUST", "1.4", "O", "stopped: PCI-architected interfaces unaffected", F.ADMIN_VQ),
    row(15, "MUST_NOT", "1.4", "O", "stopped: generate PME", F.ADMIN_VQ),
    row(16, "MUST_NOT", "1.4", "O", "stopped: access vq memory or buffers", F.ADMIN_VQ),
    row(17, "MUST_NOT", "1.4", "O", "stopped: generate config or vq notifications", F.ADMIN_VQ),
    row(18, "MUST", "1.4", "O", "MODE_SET/PARTS_SET during member FLR answer after FLR completes", F.ADMIN_VQ),
    row(19, "MUST", "1.4", "O", "same for a device reset in progress", F.ADMIN_VQ),
    row(20, "MUST", "1.4", "O", "same for a power-state transition", F.ADMIN_VQ),
    row(21, "MUST", "1.4", "O", "STOP when already stopped succeeds", F.ADMIN_VQ),
    row(22, "MUST", "1.4", "O", "un-STOP when not stopped succeeds", F.ADMIN_VQ),
    row(23, "MUST", "1.4", "O", "member reset/FLR clears all parts to default", F.ADMIN_VQ),
    row(24, "MAY", "1.4", "N", "omit a part that is invalid in the device", F.ADMIN_VQ),
    row(25, "MUST", "1.4", "O", "DRV_FEATURES or PCI_COMMON_CFG preceded by DEV_FEATURES", F.ADMIN_VQ),
    row(26, "MUST", "1.4", "O", "PCI_COMMON_CFG preceded by DEV_FEATURES (duplicate clause)", F.ADMIN_VQ),
    row(27, "MUST", "1.4", "O", "PCI_COMMON_CFG preceded by DEV_FEATURES and DRV_FEATURES", F.ADMIN_VQ),
    row(28, "MUST", "1.4", "O", "DEV_CFG preceded by DEV_FEATURES", F.ADMIN_VQ),
    row(29, "NOTE", "1.4", "O", "DRV_CFG preceded by DEV_FEATURES, DRV_FEATURES, DEV_CFG (verb missing)", F.ADMIN_VQ),
    row(30, "NOTE", "1.4", "O",
        "DEVICE_STATUS preceded by DEV_FEATURES, DRV_FEATURES, DEV_CFG (no keyword)", F.ADMIN_VQ),
    row(31, "SHOULD", "1.4", "O", "PARTS_SET of DEV_FEATURES/PCI_COMMON_CFG/DEV_CFG: verify only", F.ADMIN_VQ),
    row(32, "SHOULD_NOT", "1.4", "O", "...and not apply them, esp. read-only fields", F.ADMIN_VQ),
))

LGI = Block("LGI", "Group administration commands / Legacy Interface", (
    row(1, "MUST", "1.3", "O", "all or none of the four LEGACY_*_CFG_READ/WRITE commands", F.ADMIN_VQ),
    row(2, "MUST", "1.3", "O", "data little-endian", F.ADMIN_VQ),
    row(3, "MUST", "1.3", "O",
        "COMMON_CFG_*: fail if offset+len is not one whole field inside the common cfg", F.ADMIN_VQ),
    row(4, "MUST", "1.3", "O", "DEV_CFG_*: fail if not one field inside the device cfg", F.ADMIN_VQ),
    row(5, "MUST", "1.3", "O", "COMMON_CFG_WRITE == legacy register write", F.ADMIN_VQ),
    row(6, "MUST", "1.3", "O", "COMMON_CFG_READ == legacy register read (e.g. ISR clear-on-read)", F.ADMIN_VQ),
    row(7, "MUST", "1.3", "O", "DEV_CFG_WRITE == legacy write (mac writable)", F.ADMIN_VQ),
    row(8, "MUST", "1.3", "O", "DEV_CFG_READ == legacy read", F.ADMIN_VQ),
    row(9, "SHOULD", "1.3", "O", "owner and member follow non-transitional Revision/Subsystem ID rules", F.ADMIN_VQ),
    row(10, "SHOULD", "1.3", "O", "owner follows the non-transitional Device ID rule", F.ADMIN_VQ),
    row(11, "MUST", "1.3", "O", "doorbell at a NOTIFY_INFO address acts as a legacy Queue Notify write", F.ADMIN_VQ),
    row(12, "MUST", "1.3", "O", "NOTIFY_INFO supported => the four config commands too", F.ADMIN_VQ),
    row(13, "MUST", "1.3", "O", "NOTIFY_INFO: last entry has flags 0", F.ADMIN_VQ),
    row(14, "MUST", "1.3", "O", "valid entry's bar is not hardwired to zero", F.ADMIN_VQ),
    row(15, "MUST", "1.3", "O", "valid entry's offset is 2-byte aligned", F.ADMIN_VQ),
    row(16, "MAY", "1.3", "N", "entries of owner, member or both", F.ADMIN_VQ),
    row(17, "MUST", "1.3", "O", "SR-IOV owner hardwires VF BAR0 to zero", F.ADMIN_VQ),
))

# fmt: on

BLOCKS = (ADC, ADQ, CAP, OBJ, PRT, LGI)
