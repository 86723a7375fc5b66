"""Feature bits (FEAT, RFB). Ref: virtio 1.3, 2.2 and 6"""

from __future__ import annotations

import random
from collections.abc import Iterator

from ..errors import Unsupported
from ..pci.capabilities import extended_capabilities
from ..spec.features import REQUIRES, Feature, bits, closed, names, unmet
from ..spec.pci import ConfigHeader, ExtCapId
from ..spec.virtio_pci import TRANSITIONAL_IDS
from ..validate.bench import PLAIN, Bench
from ..validate.check import check
from ..validate.verdict import NotApplicable

F = Feature
LEGACY = F.NOTIFY_ON_EMPTY | F.ANY_LAYOUT | F.NET_GSO
VHOST_USER = F.VHOST_LOG_ALL | F.VHOST_PROTOCOL_FEATURES
# The feature table does not demand it; that they should not come alone is in 5.1.4.1 (N-CFG-14).
NOT_REQUIRED = F.NET_CTRL_RX_EXTRA
RANDOM_SETS = 8
AGAIN = 3
MANY = 4  # wrong sets that are named


@check("FEAT-1")
def offered_features_have_what_they_require(bench: Bench) -> None:
    """No feature is offered without those that it requires."""
    offered = bench.device.offered
    lacking = {bit: needs for bit, needs in unmet(offered).items() if not bit & NOT_REQUIRED}
    seen = "; ".join(f"{names(bit)[0]} without {' or '.join(names(needs[0]))}" for bit, needs in lacking.items())
    bench.must(not lacking, f"the device offers {seen}")


@check("FEAT-2")
def any_valid_set_is_accepted(bench: Bench) -> None:
    """Every set of offered features that holds together is accepted: each feature left out, each alone, random ones."""
    offered = int(bench.device.offered)
    for features in dict.fromkeys(_sets(offered)):
        bench.device.to_driver()
        bench.must(
            bench.device.accept(features),
            f"FEATURES_OK is not set for {features:#x}: without {', '.join(names(offered & ~features)) or 'nothing'}",
        )


def _sets(offered: int) -> Iterator[int]:
    base = offered & int(PLAIN)  # devices may insist on these (6.2)
    free = [int(bit) for bit in bits(offered & ~base)]
    yield base
    for bit in free:
        yield int(closed(offered & ~bit))
        yield base | _with_needs(bit, offered)
    dice = random.Random(1)
    for _ in range(RANDOM_SETS):
        yield int(closed(base | sum(bit for bit in free if dice.random() < 0.5)))


def _with_needs(bit: int, offered: int) -> int:
    """The bit, and what it requires, as far as it is offered; nothing when that is not all there."""
    found = bit
    while lacking := unmet(found):
        for needs in lacking.values():
            choice = bits(int(needs[0]) & offered)
            if not choice:
                return 0
            found |= int(choice[0])
    return found


@check("FEAT-3", rude=True)
def an_invalid_set_is_refused(bench: Bench) -> None:
    """FEATURES_OK stays unset for a feature without what it requires, and for one that is not offered."""
    offered = int(bench.device.offered)
    wrong = []
    for bit, features in _invalid(offered):
        bench.device.to_driver()
        if bench.device.accept(features) and _kept(bench, bit):
            why = (
                "it was not offered" if not bit & offered else f"without {' or '.join(names(unmet(features)[bit][0]))}"
            )
            wrong.append(f"{names(bit)[0]} ({why})")
    more = f" and {len(wrong) - MANY} more" if len(wrong) > MANY else ""
    bench.must(not wrong, f"FEATURES_OK is set for {', '.join(wrong[:MANY])}{more}")


def _invalid(offered: int) -> Iterator[tuple[Feature, int]]:
    base = offered & int(PLAIN)
    for bit in REQUIRES:
        if bit & offered and not bit & (NOT_REQUIRED | F.NET_RSC_EXT):
            yield bit, base | int(bit)
    absent = [Feature(1 << n) for n in (*range(24), *range(50, 64)) if not offered >> n & 1]
    for bit in absent[:2]:
        yield bit, base | int(bit)


def _kept(bench: Bench, bit: Feature) -> bool:
    """Does the device show the bit? One that it ignores was not accepted (4.1.4.3.1)."""
    word = (int(bit).bit_length() - 1) // 32
    bench.device.common.driver_feature_select = word
    return bool(bench.device.common.driver_feature << 32 * word & bit)


@check("FEAT-4")
def only_defined_features_are_offered(bench: Bench) -> None:
    """No feature is offered that no specification defines, or that is not for virtio over PCI."""
    offered = bench.device.offered
    transitional = int(ConfigHeader(bench.function.config).device_id) in TRANSITIONAL_IDS
    foreign = offered & (VHOST_USER if transitional else VHOST_USER | LEGACY)
    bench.must(not foreign, f"the device offers {', '.join(names(foreign))}: not for a device like this")
    defined = 0
    for bit in Feature:
        defined |= int(bit)
    unknown = int(offered) & ~defined
    bench.should(not unknown, f"the device offers {', '.join(names(unknown))}, which virtio 1.4 does not define")


@check("FEAT-5")
def a_set_is_accepted_again(bench: Bench) -> None:
    """A set that was accepted is accepted again after resets of the device, and of the function."""
    for features in (int(closed(bench.device.offered)), int(bench.usual())):
        bench.device.negotiate(features)
        for _ in range(AGAIN):
            bench.device.to_driver()
            bench.must(bench.device.accept(features), f"{features:#x} was accepted, but not after a device reset")
        try:
            bench.reset_function()
        except Unsupported as error:
            bench.note(f"not tried after a function level reset: {error}")
            continue
        bench.device.to_driver()
        bench.must(bench.device.accept(features), f"{features:#x} was accepted, but not after a function level reset")


@check("RFB-1")
def version_1_is_offered(bench: Bench) -> None:
    """VIRTIO_F_VERSION_1 is offered."""
    bench.must(bench.device.offered & F.VERSION_1, "VERSION_1 is not offered")


@check("RFB-3")
def access_platform_is_offered(bench: Bench) -> None:
    """A device whose memory accesses the IOMMU translates offers ACCESS_PLATFORM."""
    if bench.function.dma.kind == "noiommu":
        raise NotApplicable("there is no IOMMU")
    bench.must(bench.device.offered & F.ACCESS_PLATFORM, "ACCESS_PLATFORM is not offered, behind an IOMMU")


@check("RFB-8")
def order_platform_is_offered(bench: Bench) -> None:
    """An add-in card offers both ACCESS_PLATFORM and ORDER_PLATFORM."""
    missing = (F.ACCESS_PLATFORM | F.ORDER_PLATFORM) & ~int(bench.device.offered)
    bench.must(not missing, f"{', '.join(names(missing))} not offered (recommended for add-in cards)")


@check("RFB-9")
def sr_iov_is_offered_with_the_capability(bench: Bench) -> None:
    """A function with an SR-IOV capability offers VIRTIO_F_SR_IOV."""
    if not _has_sriov(bench):
        raise NotApplicable("the function has no SR-IOV capability")
    bench.must(bench.device.offered & F.SR_IOV, "there is an SR-IOV capability, but SR_IOV is not offered")


@check("RFB-10")
def sr_iov_is_not_offered_without_the_capability(bench: Bench) -> None:
    """A function without an SR-IOV capability does not offer VIRTIO_F_SR_IOV."""
    bench.must(_has_sriov(bench) or not bench.device.offered & F.SR_IOV, "SR_IOV is offered, without the capability")


def _has_sriov(bench: Bench) -> bool:
    return any(kind == ExtCapId.SRIOV for _, kind in extended_capabilities(bench.function.config))
