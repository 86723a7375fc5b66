"""Feature bits: numbers, names, requirements, and why one is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfiodpa.spec.features import NONE, REQUIRES, TRANSPORT, Feature, bits, closed, name, names, parse, unmet, why_not

# virtio 1.4, 5.1.3 and 6, by number.
NUMBERS = {
    0: "NET_CSUM", 1: "NET_GUEST_CSUM", 2: "NET_CTRL_GUEST_OFFLOADS", 3: "NET_MTU", 5: "NET_MAC", 6: "NET_GSO",
    7: "NET_GUEST_TSO4", 8: "NET_GUEST_TSO6", 9: "NET_GUEST_ECN", 10: "NET_GUEST_UFO", 11: "NET_HOST_TSO4",
    12: "NET_HOST_TSO6", 13: "NET_HOST_ECN", 14: "NET_HOST_UFO", 15: "NET_MRG_RXBUF", 16: "NET_STATUS",
    17: "NET_CTRL_VQ", 18: "NET_CTRL_RX", 19: "NET_CTRL_VLAN", 20: "NET_CTRL_RX_EXTRA", 21: "NET_GUEST_ANNOUNCE",
    22: "NET_MQ", 23: "NET_CTRL_MAC_ADDR", 24: "NOTIFY_ON_EMPTY", 26: "VHOST_LOG_ALL", 27: "ANY_LAYOUT",
    28: "INDIRECT_DESC", 29: "EVENT_IDX", 30: "VHOST_PROTOCOL_FEATURES", 32: "VERSION_1", 33: "ACCESS_PLATFORM",
    34: "RING_PACKED", 35: "IN_ORDER", 36: "ORDER_PLATFORM", 37: "SR_IOV", 38: "NOTIFICATION_DATA",
    39: "NOTIF_CONFIG_DATA", 40: "RING_RESET", 41: "ADMIN_VQ", 43: "SUSPEND", 50: "NET_DEVICE_STATS",
    51: "NET_HASH_TUNNEL", 52: "NET_VQ_NOTF_COAL", 53: "NET_NOTF_COAL", 54: "NET_GUEST_USO4", 55: "NET_GUEST_USO6",
    56: "NET_HOST_USO", 57: "NET_HASH_REPORT", 59: "NET_GUEST_HDRLEN", 60: "NET_RSS", 61: "NET_RSC_EXT",
    62: "NET_STANDBY", 63: "NET_SPEED_DUPLEX", 64: "NET_RSS_CONTEXT", 65: "NET_GUEST_UDP_TUNNEL_GSO",
    66: "NET_GUEST_UDP_TUNNEL_GSO_CSUM", 67: "NET_HOST_UDP_TUNNEL_GSO", 68: "NET_HOST_UDP_TUNNEL_GSO_CSUM",
    69: "NET_OUT_NET_HEADER", 70: "NET_IPSEC",
}  # fmt: skip

masks = st.integers(0, (1 << 128) - 1)
dense = st.integers(0, (1 << 71) - 1).map(lambda holes: (1 << 71) - 1 & ~holes)
known = st.sampled_from(list(Feature))


def test_every_bit_has_its_number() -> None:
    assert {bit.bit_length() - 1: bit.name for bit in Feature} == NUMBERS


# 5.1.3.1, as text: "a b" needs both, "a|b" one of them
NEEDS = {
    "GUEST_TSO4": "GUEST_CSUM", "GUEST_TSO6": "GUEST_CSUM", "GUEST_ECN": "GUEST_TSO4|GUEST_TSO6",
    "GUEST_UFO": "GUEST_CSUM", "GUEST_USO4": "GUEST_CSUM", "GUEST_USO6": "GUEST_CSUM", "HOST_TSO4": "CSUM",
    "HOST_TSO6": "CSUM", "HOST_ECN": "HOST_TSO4|HOST_TSO6", "HOST_UFO": "CSUM", "HOST_USO": "CSUM",
    "CTRL_RX": "CTRL_VQ", "CTRL_VLAN": "CTRL_VQ", "CTRL_RX_EXTRA": "CTRL_VQ", "GUEST_ANNOUNCE": "CTRL_VQ",
    "MQ": "CTRL_VQ", "CTRL_MAC_ADDR": "CTRL_VQ", "NOTF_COAL": "CTRL_VQ", "VQ_NOTF_COAL": "CTRL_VQ", "RSS": "CTRL_VQ",
    "HASH_TUNNEL": "CTRL_VQ RSS|HASH_REPORT", "RSC_EXT": "GUEST_TSO4|GUEST_TSO6|HOST_TSO4|HOST_TSO6",
    "RSS_CONTEXT": "CTRL_VQ RSS", "GUEST_UDP_TUNNEL_GSO": "GUEST_TSO4 GUEST_TSO6 GUEST_USO4 GUEST_USO6",
    "GUEST_UDP_TUNNEL_GSO_CSUM": "GUEST_UDP_TUNNEL_GSO", "HOST_UDP_TUNNEL_GSO": "HOST_TSO4 HOST_TSO6 HOST_USO",
    "HOST_UDP_TUNNEL_GSO_CSUM": "HOST_UDP_TUNNEL_GSO",
}  # fmt: skip


def test_requirements_as_the_specification_lists_them() -> None:
    text = {
        name(bit).removeprefix("NET_"): {frozenset(n.removeprefix("NET_") for n in names(need)) for need in needs}
        for bit, needs in REQUIRES.items()
    }
    assert text == {bit: {frozenset(need.split("|")) for need in needs.split()} for bit, needs in NEEDS.items()}


@given(masks)
def test_bits_partition_a_mask(mask: int) -> None:
    parts = bits(mask)
    assert sum(parts) == mask
    assert all(part.bit_count() == 1 for part in parts)
    assert len(names(mask)) == len(parts)


def test_names() -> None:
    assert names(Feature.NET_MAC | Feature.VERSION_1 | 1 << 58 | 1 << 100) == [
        "NET_MAC",
        "VERSION_1",
        "BIT_58",
        "BIT_100",
    ]


@given(known)
def test_names_are_parsed_back(bit: Feature) -> None:
    assert parse(name(bit)) is bit
    assert parse("VIRTIO_" + name(bit).replace("NET_", "NET_F_", 1).lower()) is bit


@pytest.mark.parametrize("text", ["mac", "NET_MAC", "VIRTIO_NET_F_MAC", "virtio_net_f_mac"])
def test_ways_to_write_a_name(text: str) -> None:
    assert parse(text) is Feature.NET_MAC
    assert parse("VIRTIO_F_VERSION_1") is Feature.VERSION_1


def test_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="no feature is called 'warp'"):
        parse("warp")


@given(st.one_of(masks, dense))
def test_closed_is_the_largest_closed_subset(mask: int) -> None:
    kept = closed(mask)
    assert kept & mask == kept
    assert not unmet(kept)
    assert closed(kept) == kept
    for bit in bits(mask & ~int(kept)):  # nothing was dropped without a reason
        assert any(not need & int(kept) for need in REQUIRES[bit])


@given(masks)
def test_unknown_bits_are_kept(mask: int) -> None:
    unknown = mask >> 71 << 71
    assert closed(mask) & unknown == unknown


def test_closed_follows_chains() -> None:
    assert closed(Feature.NET_GUEST_ECN | Feature.NET_GUEST_TSO4 | Feature.NET_MAC) == Feature.NET_MAC
    assert closed(NONE) == 0


def test_why_not_names_the_layer_or_the_need() -> None:
    layers = [("the device", int(Feature.NET_MQ | Feature.NET_MAC)), ("vhost-user", int(Feature.NET_MQ))]
    assert why_not(Feature.NET_MTU, layers) == "the device does not have it"
    assert why_not(Feature.NET_MAC, layers) == "vhost-user does not have it"
    assert why_not(Feature.NET_MQ, layers) == "it needs NET_CTRL_VQ"
    assert why_not(Feature.NET_GUEST_ECN, [("it", int(Feature.NET_GUEST_ECN | Feature.NET_GUEST_TSO4))]) == (
        "it needs NET_GUEST_TSO4 or NET_GUEST_TSO6"
    )


@given(known, st.lists(dense, min_size=1, max_size=3))
def test_why_not_is_silent_exactly_when_the_bit_survives(bit: Feature, layers: list[int]) -> None:
    common = -1
    for layer in layers:
        common &= layer
    reason = why_not(bit, [(f"layer {i}", layer) for i, layer in enumerate(layers)])
    assert (reason == "") is bool(closed(common) & bit)


def test_transport_bits_are_not_the_network_devices() -> None:
    assert not [bit for bit in bits(TRANSPORT) if name(bit).startswith("NET_")]
    assert TRANSPORT & Feature.ACCESS_PLATFORM
    assert not TRANSPORT & Feature.VERSION_1
