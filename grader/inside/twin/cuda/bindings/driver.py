"""What the twin does not have of `cuda.bindings`."""

raise ImportError("the twin has no cuda.bindings.driver: use cuda.bindings.runtime, and pycuda.driver beside it")
