"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadlines: a busy machine is no failure. CI tries the same examples each time.
settings.register_profile("vfiodpa", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("vfiodpa")
