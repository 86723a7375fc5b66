"""Basic facilities of a virtio device: status, features, reset, virtqueues, notifications.

Ref: virtio 1.4, the device requirements of these chapters, in our own words.
"""

from __future__ import annotations

from ..features import Feature
from .clause import Block, row

F = Feature

# fmt: off
STS = Block("STS", "Basic Facilities of a Virtio Device / Device Status Field", (
    row(1, "MUST_NOT", "1.1", "D", "before DRIVER_OK: consume no buffer, send no used-buffer notification"),
    row(2, "SHOULD", "1.0", "F", "enter an error state that needs a reset => set DEVICE_NEEDS_RESET"),
    row(3, "MUST", "1.0", "F", "DEVICE_NEEDS_RESET set while DRIVER_OK => send a config-change notification"),
))

FEAT = Block("FEAT", "Basic Facilities of a Virtio Device / Feature Bits", (
    row(1, "MUST_NOT", "1.0", "D", "offer a feature whose required feature is not offered"),
    row(2, "SHOULD", "1.0", "D", "accept any valid subset of the offered features"),
    row(3, "MUST", "1.0", "D", "otherwise (set not accepted) leave FEATURES_OK unset when the driver writes it"),
    row(4, "MUST_NOT", "1.3", "D",
        "offer bits it would not support, bits undefined for this spec/transport/device type, or "
        "reserved bits"),
    row(5, "SHOULD_NOT", "1.1", "D",
        "fail re-negotiation of a feature set it accepted once, after a device or system reset"),
    row(6, "NOTE", "1.1", "N", "(reason: breaks resume and error recovery)"),
))

RST = Block("RST", "Basic Facilities of a Virtio Device / Device Reset", (
    row(1, "MUST", "1.2", "D", "after receiving reset, reinitialise device status to 0"),
    row(2, "MUST_NOT", "1.2", "I",
        "after status reads 0: no notification and no queue access until the driver "
        "re-initialises"),
))

CFG = Block("CFG", "Basic Facilities of a Virtio Device / Device Configuration Space", (
    row(1, "MUST", "1.0", "D",
        "every device-specific config field is readable before FEATURES_OK, including conditional "
        "fields when their feature bit is offered"),
))

VQR = Block("VQR", "Virtqueue Reset / Virtqueue Reset", (
    row(1, "MUST_NOT", "1.2", "I",
        "after a queue reset: execute no request from that vq and send no notification for it", F.RING_RESET),
    row(2, "MUST", "1.2", "D", "reset all vq state to default, incl. avail and used state", F.RING_RESET),
))

VQE = Block("VQE", "Virtqueue Reset / Virtqueue Re-enable", (
    row(1, "MUST", "1.2", "D",
        "observe configuration changed by the driver across reset (e.g. queue size)", F.RING_RESET),
))

SUSP = Block("SUSP", "General Initialization And Device Operation / Device Suspend", (
    row(1, "MUST", "1.4", "D", "ignore the SUSPEND bit before the device is completely initialised", F.SUSPEND),
    row(2, "SHOULD", "1.4", "D", "ignore config-space writes while suspended, except device status", F.SUSPEND),
    row(3, "MUST_NOT", "1.4", "I",
        "while suspended: no vq notification, no vq access, no change to config fields", F.SUSPEND),
    row(4, "MUST_NOT", "1.4", "F",
        "send config-change notification while suspended even if config changed", F.SUSPEND),
    row(5, "MUST", "1.4", "F", "send that notification on resume", F.SUSPEND),
    row(6, "MUST", "1.4", "D", "driver sets SUSPEND => either suspend or set DEVICE_NEEDS_RESET", F.SUSPEND),
    row(7, "MUST", "1.4", "D",
        "driver sets DRIVER_OK on a suspended device => resume or DEVICE_NEEDS_RESET", F.SUSPEND),
    row(8, "SHOULD", "1.4", "W",
        "before showing SUSPEND=1/DRIVER_OK=0: stop consuming, wait for in-flight buffers to be "
        "used, send used notifications", F.SUSPEND),
))

RFB = Block("RFB", "Reserved Feature Bits", (
    row(1, "MUST", "1.0", "D", "offer VIRTIO_F_VERSION_1"),
    row(2, "MAY", "1.0", "N", "fail if VERSION_1 is not accepted"),
    row(3, "SHOULD", "1.1", "D",
        "offer ACCESS_PLATFORM when its memory access goes through platform-translated bus "
        "addresses"),
    row(4, "MAY", "1.0", "N", "fail if ACCESS_PLATFORM is not accepted"),
    row(5, "MUST", "1.1", "W", "IN_ORDER negotiated => use buffers in the order made available"),
    row(6, "MAY", "1.1", "N", "fail if ORDER_PLATFORM is offered but not accepted"),
    row(7, "MAY", "1.1", "N", "run in a slower mode in that case"),
    row(8, "RECOMMENDED", "1.1", "D", "add-in PCI card offers both ACCESS_PLATFORM and ORDER_PLATFORM"),
    row(9, "SHOULD", "1.1", "D", "PCI device with an SR-IOV capability offers VIRTIO_F_SR_IOV"),
    row(10, "MUST_NOT", "1.1", "D", "offer SR_IOV without that capability"),
))

MSG = Block("MSG", "Basic Facilities of a Virtio Device / Message Framing", (
    row(1, "MUST_NOT", "1.0", "W", "make assumptions about descriptor arrangement"),
    row(2, "MAY", "1.0", "N", "have a reasonable limit of descriptors per chain"),
))

SDT = Block("SDT", "Virtqueues / The Virtqueue Descriptor Table", (
    row(1, "MUST_NOT", "1.0", "I", "write a device-readable buffer"),
    row(2, "SHOULD_NOT", "1.0", "I", "read a device-writable buffer (MAY for debug)"),
    row(3, "MUST_NOT", "1.2", "I", "write any descriptor-table entry"),
))

IND = Block("IND", "The Virtqueue Descriptor Table / Indirect Descriptors", (
    row(1, "MUST", "1.0", "W",
        "ignore the WRITE flag in the descriptor that points to an indirect table", F.INDIRECT_DESC),
    row(2, "MUST", "1.0", "W", "handle 0..n normal chained descriptors followed by one INDIRECT", F.INDIRECT_DESC),
))

UNS = Block("UNS", "Virtqueues / Used Buffer Notification Suppression", (
    row(1, "MUST", "1.0", "D", "no EVENT_IDX: ignore used_event"),
    row(2, "SHOULD_NOT", "1.0", "D", "no EVENT_IDX, avail.flags=1: do not notify"),
    row(3, "MUST", "1.0", "D", "no EVENT_IDX, avail.flags=0: notify after writing a used entry"),
    row(4, "MUST", "1.0", "D", "EVENT_IDX: ignore bit 0 of flags", F.EVENT_IDX),
    row(5, "MUST", "1.0", "D", "EVENT_IDX: used idx written == used_event => notify", F.EVENT_IDX),
    row(6, "SHOULD_NOT", "1.0", "D", "EVENT_IDX: otherwise do not notify", F.EVENT_IDX),
))

USD = Block("USD", "Virtqueues / The Virtqueue Used Ring", (
    row(1, "MUST", "1.0", "H", "set len before updating used idx"),
    row(2, "MUST", "1.0", "W",
        "write at least len bytes into the writable part, from its first byte, before updating "
        "used idx"),
    row(3, "MAY", "1.0", "N", "write more than len bytes"),
))

ANS = Block("ANS", "Virtqueues / Available Buffer Notification Suppression", (
    row(1, "MUST", "1.0", "D", "no EVENT_IDX: used.flags is 0 or 1"),
    row(2, "MAY", "1.0", "N", "set it to 1 to suppress driver doorbells"),
    row(3, "MUST", "1.0", "D", "EVENT_IDX: used.flags is 0", F.EVENT_IDX),
    row(4, "MAY", "1.0", "N", "use avail_event to suppress doorbells until that index", F.EVENT_IDX),
    row(5, "MUST", "1.0", "D", "handle spurious doorbells"),
))

PKV = Block("PKV", "Basic Facilities of a Virtio Device / Packed Virtqueues", (
    row(1, "MUST", "1.2", "W", "start processing descriptors in ring order", F.RING_PACKED),
    row(2, "MUST", "1.1", "H", "start writing device (used) descriptors in completion order", F.RING_PACKED),
    row(3, "MAY", "1.1", "N", "reorder the writes once started", F.RING_PACKED),
))

PDT = Block("PDT", "Packed Virtqueues / The Virtqueue Descriptor Table", (
    row(1, "MUST_NOT", "1.1", "I", "write a device-readable buffer", F.RING_PACKED),
    row(2, "SHOULD_NOT", "1.1", "I", "read a device-writable buffer", F.RING_PACKED),
    row(3, "MUST_NOT", "1.1", "I", "use a descriptor before seeing its AVAIL bit change", F.RING_PACKED),
    row(4, "MUST_NOT", "1.1", "H", "change a descriptor after changing its USED bit", F.RING_PACKED),
))

PSG = Block("PSG", "Packed Virtqueues / Scatter-Gather Support", (
    row(1, "MUST", "1.2", "W", "use the descriptors of a NEXT chain in the order made available", F.RING_PACKED),
    row(2, "MAY", "1.1", "N", "limit the number of buffers in a list", F.RING_PACKED),
))

SHM = Block("SHM", "Basic Facilities of a Virtio Device / Shared Memory Regions", (
    row(1, "MUST_NOT", "1.2", "N",
        "expose through a shared memory region anything that controls the device or streams data"),
))

# fmt: on

BLOCKS = (STS, FEAT, RST, CFG, VQR, VQE, SUSP, RFB, MSG, SDT, IND, UNS, USD, ANS, PKV, PDT, PSG, SHM)
