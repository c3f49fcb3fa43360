"""What the tests' programs share; like a library of a candidate's, it runs in their process."""

import numpy as np
import pycuda.driver as cuda
import tensorrt as trt

LOGGER = trt.Logger(trt.Logger.ERROR)
X = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)
Y = np.array([[0, 2, 0], [4, 0, 6]], np.float32)


def load(name="relu"):
    """(engine, context) of one of the tests' plans."""
    with open(f"{name}.plan", "rb") as file:
        engine = trt.Runtime(LOGGER).deserialize_cuda_engine(file.read())
    return engine, engine.create_execution_context()


def pinned(array):
    """A pinned copy."""
    made = cuda.pagelocked_empty(array.shape, array.dtype)
    made[...] = array
    return made
