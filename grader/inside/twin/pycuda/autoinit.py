"""Makes a context on device 0 for the life of the process, as PyCUDA's module of this name does."""

from __future__ import annotations

import atexit
from contextlib import suppress as _suppress

import pycuda.driver as _cuda

_cuda.init()
device = _cuda.Device(0)
context = device._make_minded_context()


@atexit.register
def _leave() -> None:
    with _suppress(ConnectionError):  # the device may have ended first
        context.pop()
