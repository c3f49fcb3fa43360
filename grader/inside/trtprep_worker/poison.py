"""What memory that nothing was written to reads as on the twin: here, on the device, and to whoever judges."""

from __future__ import annotations

import numpy as np

#: Repeated, these two bytes are a NaN as float16, bfloat16, float32 and float64.
POISON = b"\xf5\xff"


def poison(size: int) -> np.ndarray:
    """``size`` bytes of the pattern, as uint8."""
    return np.frombuffer((POISON * (size // 2 + 1))[:size], np.uint8).copy()
