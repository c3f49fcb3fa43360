"""What the tests' programs with CUDA graphs share; like `helpers`, it runs in their process."""

import contextlib

from cuda.bindings import runtime as cudart

GLOBAL = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeGlobal
THREAD_LOCAL = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
RELAXED = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
TO_DEVICE = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
TO_HOST = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
ON_DEVICE = cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice


class CudaError(RuntimeError):
    """A call that did not answer with cudaSuccess; its text is the error's name."""


def ok(answer):
    """What a call gave beside cudaSuccess: nothing, one value, or a tuple. Raises CudaError."""
    error, *values = answer
    if error != cudart.cudaError_t.cudaSuccess:
        assert all(value is None for value in values)
        raise CudaError(cudart.cudaGetErrorName(error)[1].decode())
    return values[0] if len(values) == 1 else tuple(values) or None


@contextlib.contextmanager
def fails(name):
    """The block must end with this CudaError, of that name."""
    try:
        yield
    except CudaError as error:
        if str(error) == name:
            return
        raise
    raise AssertionError(f"no {name}")
