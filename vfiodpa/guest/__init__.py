"""The driver's half of virtio-net: rings in C, with a thin Python face."""
