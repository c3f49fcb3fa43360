"""The CPU twin: what a GPU would do with a TensorRT-RTX network, done without one."""
