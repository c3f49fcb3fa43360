"""The call forms that published samples and tutorials use, in programs of our own.

NVIDIA's samples wrap `cuda.bindings` in a checking function and keep pairs of buffers; tutorials for PyCUDA loop over
the engine's tensors and run on one stream. What they call, and how, is what is called here.
"""

from __future__ import annotations

import pytest

from tests.twin.harness import Twin

_CHECKED = """\
import ctypes
import numpy as np
import tensorrt as trt
{imports}
LOGGER = trt.Logger(trt.Logger.WARNING)
X = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)

def checked(answer):
    error, *values = answer
    if isinstance(error, driver.CUresult):
        assert error == driver.CUresult.CUDA_SUCCESS, error
    elif isinstance(error, cudart.cudaError_t):
        assert error == cudart.cudaError_t.cudaSuccess, "{{}}".format(error)
    else:
        raise RuntimeError(f"unknown error type: {{error}}")
    return values[0] if len(values) == 1 else values
"""


@pytest.mark.parametrize(
    "imports",
    [
        "from cuda.bindings import driver, runtime as cudart",
        "from cuda import cuda as driver, cudart",
        "try:\n    from cuda.bindings import driver\nexcept ImportError:\n    raise\nfrom cuda import cudart",
        "import cuda.bindings.driver as driver\nimport cuda.bindings.runtime as cudart",
    ],
)
def test_pairs_of_buffers_over_cuda_bindings(twin: Twin, imports: str) -> None:
    """As NVIDIA's samples have them: pinned memory seen by NumPy through ctypes, one pair for each tensor."""
    outcome = twin(
        """
        class Pair:
            def __init__(self, count, dtype):
                self.nbytes = count * np.dtype(dtype).itemsize
                host = checked(cudart.cudaMallocHost(self.nbytes))
                kind = ctypes.POINTER(np.ctypeslib.as_ctypes_type(np.dtype(dtype)))
                self.host = np.ctypeslib.as_array(ctypes.cast(host, kind), (count,))
                self.device = checked(cudart.cudaMalloc(self.nbytes))

            def free(self):
                checked(cudart.cudaFree(self.device))
                checked(cudart.cudaFreeHost(self.host.ctypes.data))

        with open("batch.plan", "rb") as file, trt.Runtime(LOGGER) as runtime:
            engine = runtime.deserialize_cuda_engine(file.read())
        stream = checked(cudart.cudaStreamCreate())
        pairs, bindings = {}, []
        for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
            shape = engine.get_tensor_profile_shape(name, 0)[-1] if name == "x" else (4, 4)
            assert np.all([s >= 0 for s in shape])
            pairs[name] = Pair(trt.volume(shape), trt.nptype(engine.get_tensor_dtype(name)))
            assert isinstance(pairs[name].device, int)
            bindings.append(int(pairs[name].device))
        inputs = [pairs[n] for n in pairs if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        values = np.arange(-8, 8, dtype=np.float32)
        np.copyto(inputs[0].host[: values.size], values.flat, casting="safe")
        with engine.create_execution_context() as context:
            assert context.set_input_shape("x", (4, 4))
            for number in range(engine.num_io_tensors):
                context.set_tensor_address(engine.get_tensor_name(number), bindings[number])
            kind = cudart.cudaMemcpyKind
            for pair in inputs:
                way = kind.cudaMemcpyHostToDevice
                checked(cudart.cudaMemcpyAsync(pair.device, pair.host, pair.nbytes, way, stream))
            assert context.execute_async_v3(stream_handle=stream)
            y = pairs["y"]
            checked(cudart.cudaMemcpyAsync(y.host, y.device, y.nbytes, kind.cudaMemcpyDeviceToHost, stream))
            checked(cudart.cudaStreamSynchronize(stream))
            got = y.host.copy()
        for pair in pairs.values():
            pair.free()
        checked(cudart.cudaStreamDestroy(stream))
        assert np.array_equal(got, np.maximum(values, 0)), got
        """,
        prelude=_CHECKED.format(imports=imports),
    ).clean()
    assert len(outcome.runs) == 1


def test_the_driver_api_as_far_as_the_samples_go(twin: Twin) -> None:
    twin(
        """
        checked(driver.cuInit(0))
        assert checked(driver.cuDeviceGetCount()) == 1
        device = checked(driver.cuDeviceGet(0))
        assert checked(driver.cuDeviceGetName(64, device)).startswith(b"trtprep")
        assert checked(driver.cuDriverGetVersion()) == checked(cudart.cudaDriverGetVersion())
        context = checked(driver.cuDevicePrimaryCtxRetain(device))
        checked(driver.cuCtxSetCurrent(context))
        kind = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
        assert checked(driver.cuDeviceGetAttribute(kind, device)) == 8
        assert driver.cuGetErrorName(driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY)[1] == b"CUDA_ERROR_OUT_OF_MEMORY"
        assert driver.cuDeviceGet(1)[0] is driver.CUresult.CUDA_ERROR_INVALID_DEVICE
        try:
            driver.cuModuleLoadData
        except AttributeError as error:
            assert "the twin" in str(error)
        else:
            raise AssertionError("a kernel")
        """,
        prelude=_CHECKED.format(imports="from cuda.bindings import driver, runtime as cudart"),
    ).clean()


def test_memory_in_the_order_of_a_stream(twin: Twin) -> None:
    """`cudaMallocAsync` and `cudaFreeAsync`, as tutorials for `cudart` have them."""
    outcome = twin(
        """
        engine = trt.Runtime(LOGGER).deserialize_cuda_engine(open("relu.plan", "rb").read())
        context = engine.create_execution_context()
        stream = checked(cudart.cudaStreamCreate())
        d_x = checked(cudart.cudaMallocAsync(X.nbytes, stream))
        d_y = checked(cudart.cudaMallocAsync(X.nbytes, stream))
        h_y = np.empty_like(X)
        checked(cudart.cudaMemcpy(d_x, X.ctypes.data, X.nbytes, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice))
        context.set_tensor_address("x", d_x)
        context.set_tensor_address("y", d_y)
        assert context.execute_async_v3(stream)
        checked(cudart.cudaStreamSynchronize(stream))
        checked(cudart.cudaMemcpy(h_y.ctypes.data, d_y, X.nbytes, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost))
        checked(cudart.cudaFreeAsync(d_x, stream))
        checked(cudart.cudaFreeAsync(d_y, stream))
        checked(cudart.cudaStreamDestroy(stream))
        assert np.array_equal(h_y, np.maximum(X, 0))
        """,
        prelude=_CHECKED.format(imports="from cuda.bindings import driver, runtime as cudart"),
    ).clean()
    assert len(outcome.runs) == 1


@pytest.mark.parametrize(
    "call",
    ["execute_async_v3(stream.handle)", "execute_async_v3(stream_handle=stream.handle)", "execute_v2(bindings)",
     "execute_v2(bindings=bindings)"],
)  # fmt: skip
def test_a_loop_over_the_engines_tensors_with_pycuda(twin: Twin, call: str) -> None:
    twin(
        """
    trt.init_libnvinfer_plugins(LOGGER, "")
    trt.init_libnvinfer_plugins(None, namespace="")
    with open("relu.plan", "rb") as f, trt.Runtime(trt.Logger(trt.Logger.WARNING)) as runtime:
        engine = runtime.deserialize_cuda_engine(f.read())
    assert [name for name in engine] == ["x", "y"] and engine[0] == "x"
    with engine.create_execution_context() as context:
        stream, bindings, host, device = cuda.Stream(), [], {}, {}
        for name in engine:
            shape = engine.get_tensor_shape(name)
            assert tuple(shape) == (2, 3) and len(shape) == 2 and shape[0] == 2 and list(shape) == [2, 3]
            size, dtype = trt.volume(shape), trt.nptype(engine.get_tensor_dtype(name))
            host[name] = cuda.pagelocked_empty(size, dtype)
            device[name] = cuda.mem_alloc(host[name].nbytes)
            bindings.append(int(device[name]))
            context.set_tensor_address(name, int(device[name]))
        np.copyto(host["x"], X.ravel())
        [cuda.memcpy_htod_async(device[n], host[n], stream) for n in ("x",)]
        context.CALL
        [cuda.memcpy_dtoh_async(host[n], device[n], stream) for n in ("y",)]
        stream.synchronize()
        assert np.array_equal(host["y"].reshape(2, 3), Y)
    del context, engine, runtime
    """.replace("CALL", call)
    ).clean()


def test_contexts_pushed_and_popped_around_each_call(twin: Twin) -> None:
    """As servers do it: a context of their own, pushed by whichever thread has the request."""
    twin(
        """
        import threading
        cuda.init()
        assert cuda.Device.count() == 1
        device = cuda.Device(0)
        own = device.make_context()
        try:
            engine, context = load()
            d_x, d_y, stream = cuda.mem_alloc(24), cuda.mem_alloc(X.nbytes), cuda.Stream()
        finally:
            own.pop()
        results = []
        def infer(batch):
            own.push()
            h_x, h_y = pinned(batch), cuda.pagelocked_empty((2, 3), np.float32)
            cuda.memcpy_htod_async(d_x, h_x, stream)
            context.set_tensor_address("x", int(d_x))
            context.set_tensor_address("y", int(d_y))
            context.execute_async_v3(stream.handle)
            cuda.memcpy_dtoh_async(h_y, d_y, stream)
            stream.synchronize()
            results.append(h_y.copy())
            own.pop()
        for batch in (X, X + 2):
            thread = threading.Thread(target=infer, args=(batch,))
            thread.start()
            thread.join()
        assert np.array_equal(results[0], Y) and np.array_equal(results[1], np.maximum(X + 2, 0))
        own.push()
        del context, engine, d_x, d_y, stream
        own.pop()
        own.detach()
        """,
        prelude="import numpy as np\nimport tensorrt as trt\nimport pycuda.driver as cuda\nfrom helpers import *\n",
    ).clean()


def test_what_samples_ask_of_tensorrt(twin: Twin) -> None:
    twin("""
    assert trt.__version__.split(".")[0] == "10" and int(trt.__version__[:2]) >= 10
    builder = trt.Builder(LOGGER)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    with builder.create_network(flags) as network, builder.create_builder_config() as config:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
        x = network.add_input(name="x", dtype=trt.float32, shape=trt.Dims([-1, 3]))
        network.mark_output(network.add_activation(input=x, type=trt.ActivationType.RELU).get_output(0))
        profile = builder.create_optimization_profile()
        profile.set_shape("x", min=(1, 3), opt=(2, 3), max=(4, 3))
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
    with open("made.plan", "wb") as file:
        file.write(plan)
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
    assert engine.num_optimization_profiles == 1
    assert engine.get_tensor_location("x") == trt.TensorLocation.DEVICE
    assert engine.get_tensor_dtype("x") == trt.float32 and engine.get_tensor_dtype("x").itemsize == 4
    context = engine.create_execution_context()
    context.set_input_shape("x", X.shape)
    context.infer_shapes()
    assert context.all_binding_shapes_specified
    y = engine.get_tensor_name(1)
    assert tuple(context.get_tensor_shape(y)) == (2, 3)
    """).clean()


def test_events_time_a_run(twin: Twin) -> None:
    twin("""
    engine, context = load()
    d_x, d_y, stream = cuda.to_device(X), cuda.mem_alloc(X.nbytes), cuda.Stream()
    context.set_tensor_address("x", int(d_x))
    context.set_tensor_address("y", int(d_y))
    start, end = cuda.Event(), cuda.Event()
    start.record(stream)
    for _ in range(3):
        context.execute_async_v3(stream.handle)
    end.record(stream)
    end.synchronize()
    assert start.time_till(end) >= 0 and end.time_since(start) == start.time_till(end)
    """).clean()


@pytest.mark.parametrize(
    "name",
    [
        "num_bindings",
        "max_batch_size",
        "get_binding_shape",
        "get_binding_dtype",
        "binding_is_input",
        "get_binding_index",
    ],
)
def test_names_of_tensorrt_8_are_not_there(twin: Twin, name: str) -> None:
    """They are gone in TensorRT 10, whose dialect this is: code with them fails there in the same way."""
    outcome = twin(f"load()[0].{name}")
    assert outcome.type == "AttributeError"
    assert name in outcome.message


def test_an_event_says_when_inputs_may_be_written_again(twin: Twin) -> None:
    outcome = twin("""
    engine, context = load()
    h_x, d_x, d_y = pinned(X), cuda.to_device(X), cuda.mem_alloc(X.nbytes)
    from cuda.bindings import runtime as cudart  # PyCUDA's events tell no handle
    compute, copies, (_, consumed) = cuda.Stream(1), cuda.Stream(1), cudart.cudaEventCreate()
    context.set_tensor_address("x", int(d_x))
    context.set_tensor_address("y", int(d_y))
    assert context.set_input_consumed_event(int(consumed)) and context.get_input_consumed_event() == int(consumed)
    context.execute_async_v3(compute.handle)
    cudart.cudaStreamWaitEvent(copies.handle, consumed, 0)
    cuda.memcpy_htod_async(d_x, h_x, copies)
    copies.synchronize()
    compute.synchronize()
    """).clean()
    assert len(outcome.runs) == 1


def test_the_event_of_inputs_must_be_one(twin: Twin) -> None:
    outcome = twin("load()[1].set_input_consumed_event(1234)  # <here>").found("event", "is not an event")
    assert outcome.type == "LogicError"
