"""Retains and pushes the primary context of device 0, as PyCUDA's module of this name does."""

from __future__ import annotations

import atexit
from contextlib import suppress as _suppress

import pycuda.driver as _cuda

_cuda.init()
device = _cuda.Device(0)
context = device.retain_primary_context()
context._push_minded()


@atexit.register
def _leave() -> None:
    with _suppress(ConnectionError):  # the device may have ended first
        _cuda.Context.pop()
