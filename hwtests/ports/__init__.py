"""Tests of the software NIC's ports that need a network of their own: root, and a network namespace."""
