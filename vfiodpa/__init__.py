"""vfiodpa: a userspace vDPA driver framework."""
