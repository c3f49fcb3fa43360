"""For `trtprep python`: says which TensorRT and device a user's own file gets."""

import pycuda.autoinit  # noqa: F401 (makes the context)
import pycuda.driver as cuda
import tensorrt as trt

print(f"TensorRT {trt.__version__} on {cuda.Device(0).name()}")
