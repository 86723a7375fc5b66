"""Front ends: who owns the guest."""
