"""The flow filter of the network device: its capabilities, resource objects, selectors and actions.

Ref: virtio 1.4, 5.1.9.6 (Device Operation / Flow filter); 5.1.6 and 5.1.7: the ids of capabilities and object types
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from ..layout import Layout, array, le8, le16, le32


class FfCapability(IntEnum):
    """Capability ids."""

    RESOURCE = 0x800
    SELECTOR = 0x801
    ACTION = 0x802


class FfObject(IntEnum):
    """Types of resource objects."""

    GROUP = 0x200
    CLASSIFIER = 0x201
    RULE = 0x202


class FfHeader(IntEnum):
    """``type`` of a selector: the header that it looks at."""

    ETH = 1
    IPV4 = 2
    IPV6 = 3
    TCP = 4
    UDP = 5
    ESP = 6


class FfMaskFlag(IntFlag):
    """``flags`` of a selector."""

    PARTIAL_MASK = 1


class FfAction(IntEnum):
    """What a rule does with a frame that it matches."""

    DROP = 1
    DIRECT_RX_VQ = 2
    IPSEC = 3
    IPSEC_RECIRCULATE = 4


# Bytes of each header that can be matched: without options, without extension headers.
HEADER_BYTES = {
    FfHeader.ETH: 14,
    FfHeader.IPV4: 20,
    FfHeader.IPV6: 40,
    FfHeader.TCP: 20,
    FfHeader.UDP: 8,
    FfHeader.ESP: 8,
}


class FfResources(Layout, size=20, ref="virtio 1.4, 5.1.9.6, struct virtio_net_ff_cap_data"):
    """FfCapability.RESOURCE. ``rules_limit``: over all groups."""

    groups_limit = le32
    classifiers_limit = le32
    rules_limit = le32
    rules_per_group_limit = le32
    last_rule_priority = le8
    selectors_per_classifier_limit = le8
    reserved = array(le8, 2)


class FfSelectors(Layout, size=8, ref="virtio 1.4, 5.1.9.6, struct virtio_net_ff_cap_mask_data"):
    """FfCapability.SELECTOR, and the object of type CLASSIFIER: ``count`` selectors follow."""

    count = le8
    reserved = array(le8, 7)


class FfSelector(Layout, size=8, ref="virtio 1.4, 5.1.9.6, struct virtio_net_ff_selector"):
    """``length`` bytes of mask follow, in the order of the header."""

    type = le8
    flags = le8
    reserved = array(le8, 2)
    length = le8
    reserved1 = array(le8, 3)


class FfActions(Layout, size=8, ref="virtio 1.4, 5.1.9.6, struct virtio_net_ff_actions"):
    """FfCapability.ACTION: ``count`` bytes follow, each an ``FfAction``, from the smallest to the largest."""

    count = le8
    reserved = array(le8, 7)


class FfGroup(Layout, size=2, ref="virtio 1.4, 5.1.9.6, struct virtio_net_resource_obj_ff_group"):
    """The object of type GROUP; no two have the same priority, and the highest is asked first."""

    group_priority = le16


class FfRule(Layout, size=16, ref="virtio 1.4, 5.1.9.6, struct virtio_net_resource_obj_ff_rule"):
    """The object of type RULE; ``key_length`` bytes of keys follow, one for each selector of the classifier.

    ``vq_index``: of a receive virtqueue, for DIRECT_RX_VQ.
    """

    group_id = le32
    classifier_id = le32
    rule_priority = le8
    key_length = le8
    action = le8
    reserved = le8
    vq_index = le16
    reserved1 = array(le8, 2)


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector with its mask. ``type`` may be one that nobody knows."""

    type: int
    mask: bytes
    flags: int = 0

    def pack(self) -> bytes:
        """As it lies in a capability or a classifier."""
        return FfSelector(type=self.type, flags=self.flags, length=len(self.mask)).pack() + self.mask


def pack_selectors(selectors: Sequence[Selector]) -> bytes:
    """The data of FfCapability.SELECTOR, or of a classifier."""
    return FfSelectors(count=len(selectors)).pack() + b"".join(one.pack() for one in selectors)


def unpack_selectors(data: bytes) -> tuple[Selector, ...]:
    """The inverse; raises ``ValueError`` when the data are cut off."""
    found, at = [], FfSelectors.size
    for _ in range(FfSelectors.unpack(data).count):
        head = FfSelector.unpack(data[at:])
        at += FfSelector.size
        mask = data[at : at + head.length]
        if len(mask) < head.length:
            raise ValueError(f"a mask of {head.length} bytes, {len(mask)} are there")
        found.append(Selector(head.type, mask, head.flags))
        at += head.length
    return tuple(found)


def pack_actions(actions: Iterable[int]) -> bytes:
    """The data of FfCapability.ACTION."""
    each = bytes(actions)
    return FfActions(count=len(each)).pack() + each


def unpack_actions(data: bytes) -> tuple[int, ...]:
    """The inverse; raises ``ValueError`` when the data are cut off."""
    count = FfActions.unpack(data).count
    if len(data) < FfActions.size + count:
        raise ValueError(f"{count} actions, {len(data) - FfActions.size} are there")
    return tuple(data[FfActions.size : FfActions.size + count])
