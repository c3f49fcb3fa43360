"""`pycuda.driver` over the twin: contexts, memory, copies, streams and events, under PyCUDA's names.

Kernels cannot be compiled here. Source of names and behaviour: PyCUDA 2026.1's ``driver.py`` and ``wrap_cudadrv.cpp``;
what PyCUDA refuses is refused here, and no public name is here that PyCUDA lacks.
"""

from trtprep_worker.device_link import Error, LogicError, MemoryError  # noqa: A004 (PyCUDA's name)

from ._attributes import ctx_flags, device_attribute, event_flags, host_alloc_flags, mem_host_register_flags
from ._copies import Memcpy2D, mem_alloc_pitch
from ._driver import (
    Context,
    Device,
    DeviceAllocation,
    Event,
    LaunchError,
    RuntimeError,  # noqa: A004
    Stream,
    get_driver_version,
    get_version,
    init,
    mem_alloc,
    mem_get_info,
    memcpy_dtod,
    memcpy_dtod_async,
    memcpy_dtoh,
    memcpy_dtoh_async,
    memcpy_htod,
    memcpy_htod_async,
    memset_d8,
    memset_d8_async,
    memset_d16,
    memset_d16_async,
    memset_d32,
    memset_d32_async,
)  # fmt: skip
from ._functions import (
    aligned_zeros,
    from_device,
    from_device_like,
    mem_alloc_like,
    pagelocked_empty_like,
    pagelocked_zeros,
    pagelocked_zeros_like,
    to_device,
)  # fmt: skip
from ._host import PagelockedHostAllocation, aligned_empty, pagelocked_empty, register_host_memory

__all__ = [
    "Context", "Device", "DeviceAllocation", "Error", "Event", "LaunchError", "LogicError", "Memcpy2D", "MemoryError",
    "PagelockedHostAllocation", "RuntimeError", "Stream", "aligned_empty", "aligned_zeros", "ctx_flags",
    "device_attribute", "event_flags", "from_device", "from_device_like", "get_driver_version", "get_version",
    "host_alloc_flags", "init", "mem_alloc", "mem_alloc_like", "mem_alloc_pitch", "mem_get_info",
    "mem_host_register_flags", "memcpy_dtod", "memcpy_dtod_async", "memcpy_dtoh", "memcpy_dtoh_async", "memcpy_htod",
    "memcpy_htod_async", "memset_d8", "memset_d8_async", "memset_d16", "memset_d16_async", "memset_d32",
    "memset_d32_async", "pagelocked_empty", "pagelocked_empty_like", "pagelocked_zeros", "pagelocked_zeros_like",
    "register_host_memory", "to_device",
]  # fmt: skip


def __getattr__(name: str) -> object:
    raise AttributeError(f"the twin's pycuda.driver has no {name!r}: docs/twin.md says what it has")
