"""Turn the public headers of csrc/ into the declarations that cffi reads: one source for both.

Usage: make_cdef.py OUTPUT HEADER...
Preprocessor lines go, integer constants stay (cffi understands ``#define NAME number``).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CONSTANT = re.compile(r"#define\s+(VDP_\w+)\s+(0x[0-9a-fA-F]+|\d+)u?\b")


def declarations(header: str) -> str:
    """The C declarations of one header, without its preprocessor lines."""
    lines = []
    for line in header.splitlines():
        constant = CONSTANT.match(line)
        if constant:
            lines.append(f"#define {constant[1]} {constant[2]}")
        elif not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines)


def main(output: str, *headers: str) -> None:
    Path(output).write_text("\n".join(declarations(Path(h).read_text()) for h in headers) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
