"""``python -m vfiodpa``."""

import sys

from .cli.main import main

sys.exit(main())
