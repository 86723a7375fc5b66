"""Can this machine do it? Checks, each with what was found and the command that mends it."""
