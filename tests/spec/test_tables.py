"""The tables against the numbers of the specifications, written down a second time."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vfiodpa.spec
from vfiodpa.layout import Layout
from vfiodpa.registers import RegisterBlock
from vfiodpa.spec import pci, vhost_user, virtio_admin, virtio_flow_filter, virtio_net, virtio_pci, virtio_ring
from vfiodpa.spec.softnic import VendorCfg
from vfiodpa.spec.vhost_user import BackendRequest, Protocol, Request

MODULES = [
    importlib.import_module(f"{vfiodpa.spec.__name__}.{info.name}")
    for info in pkgutil.iter_modules(vfiodpa.spec.__path__)
]


def declared(kind: type) -> list[type]:
    """All classes of a kind that the tables declare."""
    members = [value for module in MODULES for value in vars(module).values() if inspect.isclass(value)]
    return sorted({c for c in members if issubclass(c, kind) and c is not kind}, key=lambda c: c.__qualname__)


def places(block: type[RegisterBlock]) -> dict[str, tuple[int, int]]:
    """Offset and width in bits by name."""
    return {r.name: (r.offset, r.width) for r in block.registers()}


# virtio 1.4, 4.1.4.3; offsets in decimal as in the reference
COMMON = {
    "device_feature_select": (0, 32), "device_feature": (4, 32), "driver_feature_select": (8, 32),
    "driver_feature": (12, 32), "config_msix_vector": (16, 16), "num_queues": (18, 16), "device_status": (20, 8),
    "config_generation": (21, 8), "queue_select": (22, 16), "queue_size": (24, 16), "queue_msix_vector": (26, 16),
    "queue_enable": (28, 16), "queue_notify_off": (30, 16), "queue_desc": (32, 64), "queue_driver": (40, 64),
    "queue_device": (48, 64), "queue_notif_config_data": (56, 16), "queue_reset": (58, 16),
    "admin_queue_index": (60, 16), "admin_queue_num": (62, 16),
}  # fmt: skip

READ_ONLY = {
    "device_feature", "num_queues", "config_generation", "queue_notify_off", "queue_notif_config_data",
    "admin_queue_index", "admin_queue_num",
}  # fmt: skip

# 5.1.4
NET = {
    "mac": (0, 8), "status": (6, 16), "max_virtqueue_pairs": (8, 16), "mtu": (10, 16), "speed": (12, 32),
    "duplex": (16, 8), "rss_max_key_size": (17, 8), "rss_max_indirection_table_length": (18, 16),
    "supported_hash_types": (20, 32), "supported_tunnel_types": (24, 32),
}  # fmt: skip

# PCI 3.0, 6.1
HEADER = {
    "vendor_id": (0, 16), "device_id": (2, 16), "command": (4, 16), "status": (6, 16), "revision_id": (8, 8),
    "class_code": (9, 8), "cache_line_size": (12, 8), "latency_timer": (13, 8), "header_type": (14, 8),
    "bist": (15, 8), "bars": (16, 32), "cardbus_cis": (40, 32), "subsystem_vendor_id": (44, 16),
    "subsystem_id": (46, 16), "expansion_rom": (48, 32), "capabilities": (52, 8), "interrupt_line": (60, 8),
    "interrupt_pin": (61, 8),
}  # fmt: skip


def test_common_configuration() -> None:
    assert places(virtio_pci.CommonCfg) == COMMON
    assert virtio_pci.CommonCfg.size == 64
    assert {r.name for r in virtio_pci.CommonCfg.registers() if r.mode == "ro"} == READ_ONLY
    assert COMMON["queue_device"][0] + 8 == virtio_pci.COMMON_CFG_MIN


def test_network_configuration() -> None:
    assert places(virtio_net.NetConfig) == NET
    assert virtio_net.NetConfig.mac.count == 6
    assert all(r.mode == "ro" for r in virtio_net.NetConfig.registers())


def test_pci_header() -> None:
    assert places(pci.ConfigHeader) == HEADER
    for name, (offset, _) in HEADER.items():
        assert pci.ConfigHeaderLayout.offset_of(name) == offset


def test_status_bits() -> None:
    assert {s.name: s.value for s in virtio_pci.DeviceStatus} == {
        "ACKNOWLEDGE": 1, "DRIVER": 2, "DRIVER_OK": 4, "FEATURES_OK": 8, "SUSPEND": 16, "NEEDS_RESET": 64,
        "FAILED": 128,
    }  # fmt: skip
    assert {s.name: s.value for s in virtio_net.NetStatus} == {"LINK_UP": 1, "ANNOUNCE": 2}
    assert {s.name: s.value for s in virtio_pci.IsrStatus} == {"QUEUE": 1, "CONFIG": 2}


def test_virtio_capabilities() -> None:
    cap = virtio_pci.VirtioPciCap
    assert {f.name: f.offset for f in cap.fields if f.name != "padding"} == {
        "cap_id": 0, "cap_next": 1, "cap_len": 2, "cfg_type": 3, "bar": 4, "id": 5, "offset": 8, "length": 12,
    }  # fmt: skip
    assert (
        virtio_pci.NotifyCap.offset_of("notify_off_multiplier") == virtio_pci.PciCfgCap.offset_of("pci_cfg_data") == 16
    )
    assert {c.name: c.value for c in virtio_pci.CfgType} == {
        "COMMON": 1, "NOTIFY": 2, "ISR": 3, "DEVICE": 4, "PCI": 5, "SHARED_MEMORY": 8, "VENDOR": 9,
    }  # fmt: skip
    assert {c.name: c.value for c in pci.CapId} == {
        "POWER_MANAGEMENT": 1, "VPD": 3, "MSI": 5, "VENDOR": 9, "PCI_EXPRESS": 16, "MSIX": 17,
    }  # fmt: skip


def test_msix() -> None:
    cap = pci.MsixCap(control=0x8003)
    assert cap.vectors == 4
    assert [pci.MsixCap.offset_of(n) for n in ("control", "table", "pba")] == [2, 4, 8]
    assert [pci.MsixEntry.offset_of(n) for n in ("address_low", "address_high", "data", "control")] == [0, 4, 8, 12]


@pytest.mark.parametrize(
    ("layout", "size", "offsets"),
    [
        (virtio_ring.SplitDesc, 16, {"addr": 0, "len": 8, "flags": 12, "next": 14}),
        (virtio_ring.PackedDesc, 16, {"addr": 0, "len": 8, "id": 12, "flags": 14}),
        (virtio_ring.UsedElem, 8, {"id": 0, "len": 4}),
        (virtio_ring.AvailHeader, 4, {"flags": 0, "idx": 2}),
        (virtio_ring.UsedHeader, 4, {"flags": 0, "idx": 2}),
        (virtio_ring.EventSuppress, 4, {"off_wrap": 0, "flags": 2}),
        (virtio_net.NetHdr, 12, {"flags": 0, "gso_type": 1, "hdr_len": 2, "gso_size": 4, "csum_start": 6}),
        (virtio_net.NetHdr, 12, {"csum_offset": 8, "num_buffers": 10}),
        (virtio_net.NetHdrHash, 20, {"num_buffers": 10, "hash_value": 12, "hash_report": 16}),
        (virtio_admin.ObjectCommand, 16, {"type": 0, "id": 4, "flags": 8}),
        (virtio_flow_filter.FfResources, 20, {"groups_limit": 0, "classifiers_limit": 4, "rules_limit": 8}),
        (virtio_flow_filter.FfResources, 20, {"rules_per_group_limit": 12, "last_rule_priority": 16}),
        (virtio_flow_filter.FfResources, 20, {"selectors_per_classifier_limit": 17}),
        (virtio_flow_filter.FfSelector, 8, {"type": 0, "flags": 1, "length": 4}),
        (virtio_flow_filter.FfRule, 16, {"group_id": 0, "classifier_id": 4, "rule_priority": 8, "key_length": 9}),
        (virtio_flow_filter.FfRule, 16, {"action": 10, "vq_index": 12}),
        (vhost_user.Header, 12, {"request": 0, "flags": 4, "length": 8}),
        (vhost_user.VringState, 8, {"index": 0, "num": 4}),
        (vhost_user.VringAddr, 40, {"index": 0, "flags": 4, "desc": 8, "used": 16, "avail": 24, "log": 32}),
        (vhost_user.MemRegion, 32, {"gpa": 0, "length": 8, "uaddr": 16, "mmap_offset": 24}),
        (vhost_user.SingleRegion, 40, {"gpa": 8, "length": 16, "uaddr": 24, "mmap_offset": 32}),
        (vhost_user.LogBase, 16, {"mmap_size": 0, "mmap_offset": 8}),
        (vhost_user.Iotlb, 32, {"iova": 0, "length": 8, "uaddr": 16, "perm": 24, "type": 25}),
        (vhost_user.ConfigHeader, 12, {"offset": 0, "length": 4, "flags": 8}),
        (vhost_user.VringArea, 24, {"index": 0, "length": 8, "offset": 16}),
        (vhost_user.Transfer, 8, {"direction": 0, "phase": 4}),
        (vhost_user.MemTableHeader, 8, {"count": 0}),
    ],
)  # fmt: skip
def test_layouts(layout: type[Layout], size: int, offsets: dict[str, int]) -> None:
    assert layout.size == size
    assert {name: layout.offset_of(name) for name in offsets} == offsets


def test_selectors_and_actions() -> None:
    ff = virtio_flow_filter
    two = (ff.Selector(ff.FfHeader.ETH, b"\xff" * 14, ff.FfMaskFlag.PARTIAL_MASK), ff.Selector(5, b"\1\2"))
    data = ff.pack_selectors(two)
    assert data == bytes([2, *bytes(7)]) + b"\1\1\0\0\x0e\0\0\0" + b"\xff" * 14 + b"\5\0\0\0\2\0\0\0\1\2"
    assert ff.unpack_selectors(data + b"more") == two
    assert ff.unpack_actions(ff.pack_actions([1, 2]) + b"more") == (1, 2)
    for unpack, short in ((ff.unpack_selectors, data[:-1]), (ff.unpack_actions, ff.pack_actions([1, 2])[:-1])):
        with pytest.raises(ValueError, match="there"):
            unpack(short)


def test_descriptor_flags() -> None:
    assert {f.name: f.value for f in virtio_ring.DescFlag} == {
        "NEXT": 1, "WRITE": 2, "INDIRECT": 4, "AVAIL": 0x80, "USED": 0x8000,
    }  # fmt: skip


@given(st.integers(1, 32768))
def test_ring_sizes(size: int) -> None:
    desc, avail, used = virtio_ring.split_sizes(size)
    assert (desc, avail, used) == (size * 16, 4 + 2 * size + 2, 4 + 8 * size + 2)
    assert virtio_ring.split_size_ok(size) is (size.bit_count() == 1)
    assert virtio_ring.packed_sizes(size) == (size * 16, 4, 4)


@pytest.mark.parametrize("size", [0, -1, 65536])
def test_ring_sizes_that_no_queue_has(size: int) -> None:
    assert not virtio_ring.split_size_ok(size)


def test_queues_of_a_pair() -> None:
    assert [(virtio_net.rx_queue(p), virtio_net.tx_queue(p)) for p in range(3)] == [(0, 1), (2, 3), (4, 5)]


# Every layout and block that there is


@pytest.mark.parametrize("layout", declared(Layout), ids=lambda c: c.__qualname__)
def test_every_layout_round_trips(layout: type[Layout]) -> None:
    data = bytes(range(1, layout.size + 1))
    assert layout.unpack(data).pack() == data
    assert layout.dtype.itemsize == layout.size


@pytest.mark.parametrize("block", declared(RegisterBlock), ids=lambda c: c.__qualname__)
def test_every_block_cites_its_source(block: type[RegisterBlock]) -> None:
    assert block.ref


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.__name__ != "vfiodpa.spec.softnic"], ids=lambda m: m.__name__
)
def test_every_chapter_opens_with_its_reference(module: object) -> None:
    assert "Ref: " in (module.__doc__ or "")


def test_vendor_registers_do_not_meet_others() -> None:
    assert VendorCfg.ring_state.size <= VendorCfg.size - VendorCfg.ring_state.offset
    assert VendorCfg.ring_state.element(2).offset == 0x108


# vhost-user (QEMU docs/interop/vhost-user.rst): payload bytes, fds, own reply, protocol feature
NOTHING = Protocol.NONE
P = Protocol
MESSAGES = {
    1: ("GET_FEATURES", 0, (0, 0), True, NOTHING),
    2: ("SET_FEATURES", 8, (0, 0), False, NOTHING),
    3: ("SET_OWNER", 0, (0, 0), False, NOTHING),
    4: ("RESET_OWNER", 0, (0, 0), False, NOTHING),
    5: ("SET_MEM_TABLE", 8, (0, 8), False, NOTHING),
    6: ("SET_LOG_BASE", 16, (1, 1), True, P.LOG_SHMFD),
    7: ("SET_LOG_FD", 0, (1, 1), False, P.LOG_SHMFD),
    8: ("SET_VRING_NUM", 8, (0, 0), False, NOTHING),
    9: ("SET_VRING_ADDR", 40, (0, 0), False, NOTHING),
    10: ("SET_VRING_BASE", 8, (0, 0), False, NOTHING),
    11: ("GET_VRING_BASE", 8, (0, 0), True, NOTHING),
    12: ("SET_VRING_KICK", 8, (0, 1), False, NOTHING),
    13: ("SET_VRING_CALL", 8, (0, 1), False, NOTHING),
    14: ("SET_VRING_ERR", 8, (0, 1), False, NOTHING),
    15: ("GET_PROTOCOL_FEATURES", 0, (0, 0), True, NOTHING),
    16: ("SET_PROTOCOL_FEATURES", 8, (0, 0), False, NOTHING),
    17: ("GET_QUEUE_NUM", 0, (0, 0), True, P.MQ),
    18: ("SET_VRING_ENABLE", 8, (0, 0), False, NOTHING),
    19: ("SEND_RARP", 8, (0, 0), False, P.RARP),
    20: ("NET_SET_MTU", 8, (0, 0), False, P.MTU),
    21: ("SET_BACKEND_REQ_FD", 0, (1, 1), False, P.BACKEND_REQ),
    22: ("IOTLB_MSG", 32, (0, 0), True, P.BACKEND_REQ),
    23: ("SET_VRING_ENDIAN", 8, (0, 0), False, P.CROSS_ENDIAN),
    24: ("GET_CONFIG", 12, (0, 0), True, P.CONFIG),
    25: ("SET_CONFIG", 12, (0, 0), False, P.CONFIG),
    26: ("CREATE_CRYPTO_SESSION", 0, (0, 0), True, P.CRYPTO_SESSION),
    27: ("CLOSE_CRYPTO_SESSION", 8, (0, 0), False, P.CRYPTO_SESSION),
    28: ("POSTCOPY_ADVISE", 0, (0, 0), True, P.PAGEFAULT),
    29: ("POSTCOPY_LISTEN", 0, (0, 0), False, P.PAGEFAULT),
    30: ("POSTCOPY_END", 0, (0, 0), True, P.PAGEFAULT),
    31: ("GET_INFLIGHT_FD", 24, (0, 0), True, P.INFLIGHT_SHMFD),
    32: ("SET_INFLIGHT_FD", 24, (1, 1), False, P.INFLIGHT_SHMFD),
    33: ("GPU_SET_SOCKET", 0, (1, 1), False, NOTHING),
    34: ("RESET_DEVICE", 0, (0, 0), False, P.RESET_DEVICE),
    35: ("VRING_KICK", 8, (0, 0), False, P.INBAND_NOTIFICATIONS),
    36: ("GET_MAX_MEM_SLOTS", 0, (0, 0), True, P.CONFIGURE_MEM_SLOTS),
    37: ("ADD_MEM_REG", 40, (1, 1), False, P.CONFIGURE_MEM_SLOTS),
    38: ("REM_MEM_REG", 40, (0, 1), False, P.CONFIGURE_MEM_SLOTS),
    39: ("SET_STATUS", 8, (0, 0), False, P.STATUS),
    40: ("GET_STATUS", 0, (0, 0), True, P.STATUS),
    41: ("GET_SHARED_OBJECT", 16, (0, 0), True, P.SHARED_OBJECT),
    42: ("SET_DEVICE_STATE_FD", 8, (1, 1), True, P.DEVICE_STATE),
    43: ("CHECK_DEVICE_STATE", 0, (0, 0), True, P.DEVICE_STATE),
}

# Bits 0 to 23
PROTOCOL = (
    "MQ LOG_SHMFD RARP REPLY_ACK MTU BACKEND_REQ CROSS_ENDIAN CRYPTO_SESSION PAGEFAULT CONFIG BACKEND_SEND_FD "
    "HOST_NOTIFIER INFLIGHT_SHMFD RESET_DEVICE INBAND_NOTIFICATIONS CONFIGURE_MEM_SLOTS STATUS XEN_MMAP SHARED_OBJECT "
    "DEVICE_STATE GET_VRING_BASE_INFLIGHT GPA_ADDRESSES SHMEM GET_VRING_BASE_SKIP_DRAIN"
)


def test_every_request_has_a_rule() -> None:
    assert sorted(Request) == list(range(1, 44))
    assert set(vhost_user.RULES) == set(Request)


@pytest.mark.parametrize("number", MESSAGES)
def test_rules(number: int) -> None:
    rule = vhost_user.RULES[Request(number)]
    assert (Request(number).name, rule.payload.size, rule.fds, rule.reply, rule.gate) == MESSAGES[number]


@pytest.mark.parametrize("number", MESSAGES)
def test_no_rule_exceeds_a_message(number: int) -> None:
    rule = vhost_user.RULES[Request(number)]
    assert rule.payload.size + rule.more <= vhost_user.MAX_PAYLOAD + 12
    assert rule.fds[0] <= rule.fds[1] <= vhost_user.MAX_FDS


def test_the_memory_table_takes_eight_regions() -> None:
    assert vhost_user.RULES[Request.SET_MEM_TABLE].more == 8 * 32


def test_protocol_features() -> None:
    assert {p.name: p.value for p in Protocol} == {name: 1 << n for n, name in enumerate(PROTOCOL.split())}


def test_backend_requests() -> None:
    assert [(r.name, r.value) for r in BackendRequest] == [
        ("IOTLB_MSG", 1),
        ("CONFIG_CHANGE_MSG", 2),
        ("VRING_HOST_NOTIFIER_MSG", 3),
        ("VRING_CALL", 4),
        ("VRING_ERR", 5),
    ]


def test_what_may_come_before_the_features() -> None:
    early = {int(r) for r in vhost_user.BEFORE_FEATURES}
    assert early >= {1, 2, 3, 15, 16}
    assert not early & {5, 8, 9, 10, 12, 37}  # nothing that gives memory, or describes or starts a ring
