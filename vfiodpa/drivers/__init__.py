"""Device drivers: how a NIC is programmed."""
