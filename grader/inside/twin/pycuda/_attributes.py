"""What the twin's one device says of itself, and the enumerations of `pycuda.driver`."""

from __future__ import annotations

from typing import Any

from ._boost import NotInstantiable, enumeration

NAME, TOTAL_BYTES, CAPABILITY = "trtprep CPU twin", 4 << 30, (8, 6)  # bytes as in grader/twin/memory.py

ctx_flags = enumeration(
    "ctx_flags",
    {
        "SCHED_AUTO": 0, "SCHED_SPIN": 1, "SCHED_YIELD": 2, "SCHED_MASK": 7, "BLOCKING_SYNC": 4,
        "SCHED_BLOCKING_SYNC": 4, "MAP_HOST": 8, "LMEM_RESIZE_TO_MAX": 16,
    },
)  # fmt: skip
event_flags = enumeration("event_flags", {"DEFAULT": 0, "BLOCKING_SYNC": 1, "DISABLE_TIMING": 2})


class host_alloc_flags(NotInstantiable):  # noqa: N801 (PyCUDA's names)
    PORTABLE = 1
    DEVICEMAP = 2
    WRITECOMBINED = 4


class mem_host_register_flags(NotInstantiable):  # noqa: N801
    PORTABLE = 1
    DEVICEMAP = 2


_OF_THE_DEVICE = {  # name: (number in `CUdevice_attribute`, value)
    "MAX_THREADS_PER_BLOCK": (1, 1024),
    "WARP_SIZE": (10, 32),
    "INTEGRATED": (18, 0),
    "CAN_MAP_HOST_MEMORY": (19, 1),
    "CONCURRENT_KERNELS": (31, 1),
    "ASYNC_ENGINE_COUNT": (40, 2),
    "UNIFIED_ADDRESSING": (41, 1),
    "COMPUTE_CAPABILITY_MAJOR": (75, CAPABILITY[0]),
    "COMPUTE_CAPABILITY_MINOR": (76, CAPABILITY[1]),
}
device_attribute: Any = enumeration(
    "device_attribute", {name: number for name, (number, _) in _OF_THE_DEVICE.items()}, "CUdevice_attribute_enum"
)
VALUES: dict[int, int] = dict(_OF_THE_DEVICE.values())
