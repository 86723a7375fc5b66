"""Tests of what only a PCI function through VFIO has: groups, permissions, limits, unbinding, unplugging."""
