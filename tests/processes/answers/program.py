"""An answer that builds and runs an engine, and does the device wrong."""

import numpy as np
import pycuda.autoinit  # noqa: F401 (makes the context)
import pycuda.driver as cuda
import tensorrt as trt


def build():
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    given = network.add_input("given", trt.DataType.FLOAT, (4,))
    layer = network.add_unary(given, trt.UnaryOperation.NEG)
    layer.get_output(0).name = "negated"
    network.mark_output(layer.get_output(0))
    return builder.build_serialized_network(network, builder.create_builder_config())


def run(plan, batch, twice=False):
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    stream = cuda.Stream()
    source, target = cuda.mem_alloc(batch.nbytes), cuda.mem_alloc(batch.nbytes)
    result = np.empty_like(batch)
    cuda.memcpy_htod(source, batch)
    context.set_tensor_address("given", int(source))
    context.set_tensor_address("negated", int(target))
    for _ in range(2 if twice else 1):
        context.execute_async_v3(stream.handle)  # <run>
    stream.synchronize()
    cuda.memcpy_dtoh(result, target)
    return result


def leak():
    global kept
    kept = cuda.mem_alloc(1000)  # <leak>


def misuse_and_die():
    import os

    try:
        cuda.memcpy_dtoh(np.empty(4, np.float32), 12345)  # <misuse>
    except cuda.LogicError:
        os._exit(1)


def hoard():
    global kept
    kept = []
    while True:
        kept.append(cuda.mem_alloc(64 << 20))
        cuda.memset_d8(int(kept[-1]), 1, 64 << 20)
