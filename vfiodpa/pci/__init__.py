"""PCI functions: the contract, and what is common to all of them."""
