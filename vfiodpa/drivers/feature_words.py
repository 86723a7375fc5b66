"""Feature bits through the common configuration, 32 at a time (virtio 1.3, 4.1.4.3)."""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_pci import CommonCfg


def read_features(common: CommonCfg, words: int) -> Feature:
    """What the device offers."""
    features = 0
    for n in range(words):
        common.device_feature_select = n
        features |= common.device_feature << 32 * n
    return Feature(features)


def write_features(common: CommonCfg, words: int, features: Feature) -> None:
    """What the driver accepts."""
    for n in range(words):
        word = int(features) >> 32 * n & 0xFFFF_FFFF
        if word or n < 2:  # the others are 0 since the reset, and old devices know two words only
            common.driver_feature_select = n
            common.driver_feature = word
