"""A PciFunction in software: a modern virtio-net device at register level."""
