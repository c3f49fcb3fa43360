"""What the twin's one device says of itself, by the numbers of `CUdevice_attribute`."""

from __future__ import annotations

from enum import IntEnum

NAME, TOTAL_BYTES, CAPABILITY = "trtprep CPU twin", 4 << 30, (8, 6)  # bytes as in grader/twin/memory.py


class device_attribute(IntEnum):  # noqa: N801 (PyCUDA's name)
    MAX_THREADS_PER_BLOCK = 1
    WARP_SIZE = 10
    INTEGRATED = 18
    CAN_MAP_HOST_MEMORY = 19
    CONCURRENT_KERNELS = 31
    ASYNC_ENGINE_COUNT = 40
    UNIFIED_ADDRESSING = 41
    COMPUTE_CAPABILITY_MAJOR = 75
    COMPUTE_CAPABILITY_MINOR = 76


_OF = device_attribute
VALUES: dict[int, int] = {
    _OF.MAX_THREADS_PER_BLOCK: 1024,
    _OF.WARP_SIZE: 32,
    _OF.INTEGRATED: 0,
    _OF.CAN_MAP_HOST_MEMORY: 1,
    _OF.CONCURRENT_KERNELS: 1,
    _OF.ASYNC_ENGINE_COUNT: 2,
    _OF.UNIFIED_ADDRESSING: 1,
    _OF.COMPUTE_CAPABILITY_MAJOR: CAPABILITY[0],
    _OF.COMPUTE_CAPABILITY_MINOR: CAPABILITY[1],
}
