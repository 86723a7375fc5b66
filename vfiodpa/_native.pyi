"""The C helpers of csrc/, through cffi. The headers there are the reference."""

from typing import Any

ffi: Any
lib: Any
