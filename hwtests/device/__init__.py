"""Tests for any NIC: a PCI function through VFIO, or the software NIC. ``--device`` says which."""
