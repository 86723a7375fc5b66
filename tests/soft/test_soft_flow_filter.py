"""The flow filter of the software NIC: what is published of what a driver creates, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soft.test_soft_commands import Told
from vfiodpa.soft.admin import SUPPORTED, AdminQueue
from vfiodpa.soft.flow_filter import DEVICE, Match
from vfiodpa.soft.settings import NetState
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_admin import (
    AdminCommand,
    AdminOpcode,
    AdminQualifier,
    AdminReply,
    AdminStatus,
    CapabilityId,
    ObjectCommand,
    opcode_list,
)
from vfiodpa.spec.virtio_flow_filter import (
    FfAction,
    FfCapability,
    FfGroup,
    FfHeader,
    FfObject,
    FfResources,
    FfRule,
    Selector,
    pack_actions,
    pack_selectors,
)

C, G, K, R = FfCapability, FfObject.GROUP, FfObject.CLASSIFIER, FfObject.RULE
Op, Q, S = AdminOpcode, AdminQualifier, AdminStatus
ETHERNET = Selector(FfHeader.ETH, bytes(12) + b"\xff\xff")
IPV4 = Selector(FfHeader.IPV4, bytes(9) + b"\xff" + bytes(10))
UDP = Selector(FfHeader.UDP, b"\xff\xff\0\0\0\0\0\0")


class Driver:
    """Asks as one does, and remembers the last status."""

    def __init__(self, *, enable: bool = True, pairs: int = 2) -> None:
        self.told = Told()
        self.queue = AdminQueue("soft", NetState(pairs, self.told, Feature.NET_MQ))
        self.ask(Op.LIST_USE, opcode_list(SUPPORTED))
        for id in C if enable else ():
            assert self.set(id, DEVICE[id]) is S.OK

    def ask(self, opcode: int, data: bytes) -> AdminStatus:
        command = AdminCommand(opcode=opcode).pack() + data
        reply = self.queue.answer(command, len(command))
        head = AdminReply.unpack(reply)
        self.qualifier, self.result = Q(head.status_qualifier), reply[AdminReply.size :]
        return S(head.status)

    def set(self, id: int, data: bytes) -> AdminStatus:
        return self.ask(Op.DRIVER_CAP_SET, CapabilityId(id=id).pack() + data)

    def on(self, opcode: int, type: int, id: int, data: bytes = b"") -> AdminStatus:
        return self.ask(opcode, ObjectCommand(type=type, id=id).pack() + data)

    def create(self, type: int, id: int, data: bytes) -> AdminStatus:
        return self.on(Op.OBJECT_CREATE, type, id, data)

    def limits(self, **limits: int) -> AdminStatus:
        whole = FfResources.unpack(DEVICE[C.RESOURCE])
        return self.set(C.RESOURCE, FfResources(**{**whole.values, **limits}).pack())

    @property
    def rules(self) -> list[Match]:
        return self.told.flow_rules


def group(priority: int) -> bytes:
    return FfGroup(group_priority=priority).pack()


def rule(keys: bytes = bytes(14), **fields: int) -> bytes:
    return FfRule(**{"key_length": len(keys), "action": FfAction.DIRECT_RX_VQ, "vq_index": 2, **fields}).pack() + keys


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.create(G, 0, group(4))
    made.create(G, 1, group(9))
    made.create(K, 0, pack_selectors([ETHERNET]))
    return made


def test_capabilities_are_listed_and_told() -> None:
    driver = Driver(enable=False)
    assert driver.ask(Op.CAP_ID_LIST_QUERY, b"") is S.OK
    assert int.from_bytes(driver.result, "little") == 7 << 0x800
    for id in C:
        assert driver.ask(Op.DEVICE_CAP_GET, CapabilityId(id=id).pack()) is S.OK
        assert driver.result[: len(DEVICE[id])] == DEVICE[id]
        assert len(driver.result) % 8 == 0


@pytest.mark.parametrize(
    ("id", "data"),
    [
        (C.RESOURCE, b"\xff" * 20),
        (C.SELECTOR, pack_selectors([ETHERNET, ETHERNET])),
        (C.SELECTOR, pack_selectors([IPV4, ETHERNET])),
        (C.SELECTOR, pack_selectors([replace(ETHERNET, flags=3)])),
        (C.SELECTOR, pack_selectors([replace(ETHERNET, mask=b"\xff" * 15)])),
        (C.SELECTOR, pack_selectors([Selector(FfHeader.ESP, b"\xff" * 8)])),
        (C.ACTION, pack_actions([FfAction.DROP, FfAction.IPSEC])),
        (C.ACTION, pack_actions([FfAction.DIRECT_RX_VQ, FfAction.DROP])),
    ],
)
def test_more_than_the_device_has(id: FfCapability, data: bytes) -> None:
    driver = Driver(enable=False)
    assert (driver.set(id, data), driver.qualifier) == (S.EINVAL, Q.INVALID_FIELD)
    assert driver.queue.admin.flow_filter.driver == {}


def test_nothing_is_changed_while_there_are_objects(driver: Driver) -> None:
    assert driver.limits(groups_limit=5) is S.EBUSY
    for type, id in ((G, 0), (G, 1), (K, 0)):
        assert driver.on(Op.OBJECT_DESTROY, type, id) is S.OK
    assert driver.limits(groups_limit=5) is S.OK


def test_rules_are_published_in_their_order(driver: Driver) -> None:
    for id, (of, priority) in enumerate([(0, 9), (1, 1), (0, 200), (1, 3)]):
        assert driver.create(R, id, rule(bytes([id, *bytes(13)]), group_id=of, rule_priority=priority)) is S.OK
    assert [match.keys[0][0] for match in driver.rules] == [3, 1, 2, 0]
    assert driver.on(Op.OBJECT_MODIFY, R, 2, rule(group_id=1, rule_priority=2, action=FfAction.DROP)) is S.OK
    assert [match.pair for match in driver.rules] == [1, None, 1, 1]
    assert driver.on(Op.OBJECT_DESTROY, R, 3) is S.OK
    assert [match.pair for match in driver.rules] == [None, 1, 1]


def test_keys_of_several_headers() -> None:
    driver = Driver()
    chain = [ETHERNET, IPV4, UDP]
    driver.create(G, 0, group(0))
    assert driver.create(K, 7, pack_selectors(chain)) is S.OK
    keys = bytes(range(42))
    assert driver.create(R, 5, rule(keys, classifier_id=7)) is S.OK
    assert driver.rules == [Match(tuple(chain), (keys[:14], keys[14:34], keys[34:]), 1)]


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (S.EINVAL, rule(group_id=3)),
        (S.EINVAL, rule(classifier_id=3)),
        (S.EINVAL, rule(bytes(13))),
        (S.EINVAL, rule(rule_priority=255)),
        (S.EINVAL, rule(vq_index=1)),
        (S.EINVAL, rule(vq_index=4)),
        (S.EINVAL, rule(action=FfAction.IPSEC)),
        (S.OK, rule(vq_index=0xFFFF, action=FfAction.DROP)),
        (S.OK, rule(rule_priority=254)),
        (S.OK, rule()[:20]),  # keys that are cut off are zeroes
        (S.OK, rule() + b"more"),
    ],
)
def test_a_rule_by_itself(driver: Driver, status: AdminStatus, data: bytes) -> None:
    assert driver.create(R, 0, data) is status
    assert len(driver.rules) == (status is S.OK)


@pytest.mark.parametrize(
    "selectors",
    [
        [],
        [IPV4],
        [ETHERNET, UDP],
        [ETHERNET, IPV4, IPV4],
        [ETHERNET, IPV4, UDP, UDP],
        [replace(ETHERNET, mask=b"\xff" * 13)],
        [Selector(9, b"")],
    ],
)
def test_classifiers_that_make_no_sense(driver: Driver, selectors: list[Selector]) -> None:
    assert driver.create(K, 1, pack_selectors(selectors)) is S.EINVAL


def test_a_classifier_stays_within_what_the_driver_set() -> None:
    driver = Driver()
    driver.set(C.SELECTOR, pack_selectors([ETHERNET]))
    assert driver.create(K, 0, pack_selectors([replace(ETHERNET, mask=b"\1" * 14)])) is S.EINVAL
    assert driver.create(K, 0, pack_selectors([ETHERNET, IPV4])) is S.EINVAL
    assert driver.create(K, 0, pack_selectors([ETHERNET])) is S.OK


def test_one_pair_without_multiqueue(driver: Driver) -> None:
    driver.queue.state.features = Feature(0)
    assert driver.create(R, 0, rule(vq_index=2)) is S.EINVAL
    assert driver.create(R, 0, rule(vq_index=0)) is S.OK


def test_an_unknown_type(driver: Driver) -> None:
    for opcode in (Op.OBJECT_CREATE, Op.OBJECT_MODIFY, Op.OBJECT_QUERY, Op.OBJECT_DESTROY):
        assert (driver.on(opcode, 0x203, 0), driver.qualifier) == (S.EINVAL, Q.INVALID_FIELD)


def test_without_a_flow_filter() -> None:
    queue = AdminQueue("soft", NetState(1, Told()), steers=False)
    assert queue.admin.flow_filter.device == {}
    assert queue.admin.flow_filter.objects.kinds == {}


@given(opcode=st.sampled_from([op for op in Op if SUPPORTED >> op & 1]), data=st.binary())
def test_any_data_is_answered(opcode: AdminOpcode, data: bytes) -> None:
    driver = Driver()
    driver.create(G, 0, group(4))
    driver.create(K, 0, pack_selectors([ETHERNET]))
    driver.create(R, 0, rule())
    assert driver.ask(opcode, data) in S
    assert driver.ask(opcode, ObjectCommand(type=R, id=1).pack() + data) in S
    assert all(len(match.keys) == len(match.selectors) for match in driver.rules)
