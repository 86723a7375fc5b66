"""The software NIC's flow filter: its capabilities, groups, classifiers and rules.

Ref: virtio 1.4, 5.1.9.6. Rules are handed on in the order in which they are tried; csrc/flow_rules.h tries them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..layout import Layout
from ..spec.virtio_flow_filter import (
    HEADER_BYTES,
    FfAction,
    FfCapability,
    FfGroup,
    FfHeader,
    FfMaskFlag,
    FfObject,
    FfResources,
    FfRule,
    Selector,
    pack_actions,
    pack_selectors,
    unpack_actions,
    unpack_selectors,
)
from .objects import Kind, Object, ObjectTable
from .refusal import IN_USE, INVALID_FIELD, INVALID_OPCODE, NO_SUCH, Failed

MAX_RULES = 64  # VDP_FLOW_RULES in csrc/flow_rules.h
MOST_DATA = 1024  # bytes of an object or capability: what is cut off counts as zeroes (2.13.1)
HEADERS = (FfHeader.ETH, FfHeader.IPV4, FfHeader.IPV6, FfHeader.TCP, FfHeader.UDP)
ORDER = ((FfHeader.ETH,), (FfHeader.IPV4, FfHeader.IPV6), (FfHeader.TCP, FfHeader.UDP))  # of a classifier's selectors
DEVICE: dict[FfCapability, bytes] = {
    FfCapability.RESOURCE: FfResources(
        groups_limit=16,
        classifiers_limit=16,
        rules_limit=MAX_RULES,
        rules_per_group_limit=MAX_RULES,
        last_rule_priority=255,
        selectors_per_classifier_limit=len(ORDER),
    ).pack(),
    FfCapability.SELECTOR: pack_selectors(
        [Selector(header, b"\xff" * HEADER_BYTES[header], FfMaskFlag.PARTIAL_MASK) for header in HEADERS]
    ),
    FfCapability.ACTION: pack_actions([FfAction.DROP, FfAction.DIRECT_RX_VQ]),
}


Rank = tuple[int, int]  # priorities of the group, and of the rule in it: the highest is tried first


@dataclass(frozen=True, slots=True)
class Match:
    """A rule as it is tried: ``selectors`` with their masks, a key for each; ``pair``: None to drop."""

    selectors: tuple[Selector, ...]
    keys: tuple[bytes, ...]
    pair: int | None


class FlowFilter:
    """What the driver set and created. ``pairs`` tells how many receive queues there are, ``publish`` takes rules.

    ``device``: its capabilities, or none.
    """

    def __init__(
        self,
        pairs: Callable[[], int],
        publish: Callable[[Sequence[Match]], None],
        device: Mapping[FfCapability, bytes] = DEVICE,
    ) -> None:
        self.device = device
        self.pairs = pairs
        self.publish = publish
        self.driver: dict[int, bytes] = {}  # capabilities
        kinds: Mapping[int, Kind] = {
            FfObject.GROUP: _Groups(self),
            FfObject.CLASSIFIER: _Classifiers(self),
            FfObject.RULE: _Rules(self),
        }
        self.objects = ObjectTable(kinds if device else {}, lambda: self.publish(self.rules()))

    def clear(self) -> None:
        """Device reset; the data path forgets rules by itself."""
        self.driver.clear()
        self.objects.clear()

    # Capabilities

    def capability(self, id: int) -> bytes:
        """What the device can; raises ``Failed``."""
        for known, data in self.device.items():
            if known == id:
                return data
        raise Failed(*NO_SUCH)

    def set(self, id: int, data: bytes) -> None:
        """What the driver is going to use; while there are objects, nothing can be changed. Raises ``Failed``."""
        offered = self.capability(id)
        try:
            kept = _WITHIN[FfCapability(id)](offered, data.ljust(MOST_DATA, b"\0"))
        except ValueError as error:
            raise Failed(*INVALID_FIELD) from error
        if self.objects.objects:
            raise Failed(*IN_USE)
        self.driver[id] = kept

    @property
    def resources(self) -> FfResources:
        """The driver's limits; all zero until it set some."""
        return FfResources.unpack(self.driver.get(FfCapability.RESOURCE, bytes(FfResources.size)))

    @property
    def selectors(self) -> dict[int, Selector]:
        """What the driver's classifiers may look at, by type."""
        found = unpack_selectors(self.driver.get(FfCapability.SELECTOR, pack_selectors([])))
        return {one.type: one for one in found}

    @property
    def actions(self) -> tuple[int, ...]:
        """What the driver's rules may do."""
        return unpack_actions(self.driver.get(FfCapability.ACTION, pack_actions([])))

    def must_be_enabled(self) -> None:
        """Raises ``Failed`` unless the driver enabled all three capabilities."""
        if not (any(self.resources.pack()) and self.selectors and self.actions):
            raise Failed(*INVALID_OPCODE)

    # Rules

    def rules(self) -> list[Match]:
        """All rules, the first to be tried first."""
        return [match for _, match in sorted(self.ranked(), key=lambda one: one[0], reverse=True)]

    def ranked(self) -> list[tuple[Rank, Match]]:
        """All rules, each with its rank."""
        groups, classifiers = self.objects.of(FfObject.GROUP), self.objects.of(FfObject.CLASSIFIER)
        ranked = []
        for one in self.objects.of(FfObject.RULE).values():
            rule = FfRule.unpack(one.data)
            group = FfGroup.unpack(groups[rule.group_id].data)
            selectors = unpack_selectors(classifiers[rule.classifier_id].data)
            rank = group.group_priority, rule.rule_priority
            ranked.append((rank, _match(rule, selectors, one.data[FfRule.size :])))
        return ranked


def _match(rule: FfRule, selectors: tuple[Selector, ...], keys: bytes) -> Match:
    each, at = [], 0
    for one in selectors:
        each.append(keys[at : at + len(one.mask)])
        at += len(one.mask)
    return Match(selectors, tuple(each), rule.vq_index // 2 if rule.action == FfAction.DIRECT_RX_VQ else None)


# What a driver may set: no more than the device has, else ValueError


def _limits(offered: bytes, data: bytes) -> bytes:
    device, driver = FfResources.unpack(offered), FfResources.unpack(data)
    for field in FfResources.fields:
        if not field.count and driver.values[field.name] > device.values[field.name]:
            raise ValueError(field.name)
    return driver.pack()


def _subset(offered: bytes, data: bytes) -> bytes:
    chosen = unpack_selectors(data)
    device = {one.type: one for one in unpack_selectors(offered)}
    _ascending([one.type for one in chosen])
    for one in chosen:
        _covered(one, device.get(one.type))
    return pack_selectors(chosen)


def _some_actions(offered: bytes, data: bytes) -> bytes:
    chosen = unpack_actions(data)
    _ascending(chosen)
    if set(chosen) - set(unpack_actions(offered)):
        raise ValueError(f"actions {chosen}")
    return pack_actions(chosen)


def _ascending(numbers: Sequence[int]) -> None:
    if list(numbers) != sorted(set(numbers)):
        raise ValueError(f"{numbers} is not in order")


def _covered(one: Selector, by: Selector | None) -> None:
    """No bit of mask or flags that is not there."""
    if by is None or one.flags & ~by.flags or len(one.mask) != len(by.mask):
        raise ValueError(f"selector {one.type}")
    if any(mine & ~theirs for mine, theirs in zip(one.mask, by.mask, strict=True)):
        raise ValueError(f"mask of selector {one.type}")


_WITHIN: dict[FfCapability, Callable[[bytes, bytes], bytes]] = {
    FfCapability.RESOURCE: _limits,
    FfCapability.SELECTOR: _subset,
    FfCapability.ACTION: _some_actions,
}


# Objects


class _OfFilter:
    def __init__(self, filter: FlowFilter) -> None:
        self.filter = filter

    def must_be_enabled(self) -> None:
        self.filter.must_be_enabled()


def _padded(data: bytes, layout: type[Layout]) -> Any:
    return layout.unpack(data.ljust(layout.size, b"\0"))


class _Groups(_OfFilter):
    """Ids up to their own limit, but no more than a group may have rules."""

    @property
    def ids(self) -> int:
        return self.filter.resources.groups_limit

    @property
    def most(self) -> int:
        return min(self.filter.resources.groups_limit, self.filter.resources.rules_per_group_limit)

    def make(self, id: int, data: bytes, /) -> Object:
        group = _padded(data, FfGroup)
        others = [one.data for other, one in self.filter.objects.of(FfObject.GROUP).items() if other != id]
        if group.pack() in others:
            raise Failed(*INVALID_FIELD)
        return Object(group.pack())


class _Classifiers(_OfFilter):
    """From the outermost header inwards."""

    @property
    def most(self) -> int:
        return self.filter.resources.classifiers_limit

    ids = most

    def make(self, _id: int, data: bytes, /) -> Object:
        try:
            found = unpack_selectors(data.ljust(MOST_DATA, b"\0"))
            for one in found:
                _covered(one, self.filter.selectors.get(one.type))
        except ValueError as error:
            raise Failed(*INVALID_FIELD) from error
        most = min(self.filter.resources.selectors_per_classifier_limit, len(ORDER))
        ordered = all(one.type in types for one, types in zip(found, ORDER, strict=False))
        if not 1 <= len(found) <= most or not ordered:
            raise Failed(*INVALID_FIELD)
        return Object(pack_selectors(found))


class _Rules(_OfFilter):
    """Each of one group and by one classifier."""

    @property
    def most(self) -> int:
        return min(self.filter.resources.rules_limit, self.filter.resources.rules_per_group_limit)

    ids = most

    def make(self, _id: int, data: bytes, /) -> Object:
        rule = _padded(data, FfRule)
        group, classifier = (FfObject.GROUP, rule.group_id), (FfObject.CLASSIFIER, rule.classifier_id)
        described = self.filter.objects.objects.get(classifier)
        if described is None or not self._sound(rule, described.data):
            raise Failed(*INVALID_FIELD)
        keys = data[FfRule.size : FfRule.size + rule.key_length].ljust(rule.key_length, b"\0")
        return Object(rule.pack() + keys, (group, classifier))

    def _sound(self, rule: FfRule, classifier: bytes) -> bool:
        lengths = sum(len(one.mask) for one in unpack_selectors(classifier))
        return (
            rule.key_length == lengths
            and rule.rule_priority < self.filter.resources.last_rule_priority
            and rule.action in self.filter.actions
            and (rule.action != FfAction.DIRECT_RX_VQ or self._receives(rule.vq_index))
        )

    def _receives(self, queue: int) -> bool:
        return queue % 2 == 0 and queue // 2 < self.filter.pairs()
