"""`pycuda.gpuarray` over the twin: arrays in device memory, their transfer, and elementwise arithmetic.

Names, arguments and results are PyCUDA's.  Where PyCUDA's kernels would give something else than NumPy without an
error (integers divided, arrays of different order or of mixed types added) this refuses, and says what to do.
"""

from ._array import GPUArray
from ._array_makers import arange, empty, empty_like, ones, ones_like, to_gpu, to_gpu_async, zeros, zeros_like

__all__ = [
    "GPUArray", "arange", "empty", "empty_like", "ones", "ones_like", "to_gpu", "to_gpu_async", "zeros", "zeros_like",
]  # fmt: skip


def __getattr__(name: str) -> object:
    raise AttributeError(f"the twin's pycuda.gpuarray has no {name!r}: docs/twin.md says what it has")
