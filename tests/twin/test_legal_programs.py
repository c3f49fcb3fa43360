"""Programs that CUDA, PyCUDA and TensorRT allow: they run unchanged, give the right numbers, and nothing is found."""

from __future__ import annotations

import pytest

from tests.twin.harness import Twin

_ASYNC = """
engine, context = load()
h_x, h_y = pinned(X), cuda.pagelocked_empty(X.shape, np.float32)
d_x, d_y = cuda.mem_alloc(h_x.nbytes), cuda.mem_alloc(h_y.nbytes)
context.set_tensor_address("x", int(d_x))
context.set_tensor_address("y", int(d_y))
stream = {stream}
cuda.memcpy_htod_async(d_x, h_x, stream)
assert context.execute_async_v3({handle})
cuda.memcpy_dtoh_async(h_y, d_y, stream)
{wait}
assert np.array_equal(h_y, Y), h_y
"""


@pytest.mark.parametrize(
    ("stream", "handle", "wait"),
    [
        ("cuda.Stream()", "stream.handle", "stream.synchronize()"),
        ("cuda.Stream(1)", "stream.handle", "stream.synchronize()"),
        ("None", "0", "cuda.Context.synchronize()"),
        ("cuda.Stream()", "stream.handle", "pycuda.autoinit.context.synchronize()"),
        ("cuda.Stream()", "stream.handle", "while not stream.is_done(): pass"),
        ("cuda.Stream()", "stream.handle", "cuda.Event().record(stream).synchronize()"),
        ("cuda.Stream()", "stream.handle", "event = cuda.Event().record(stream)\nwhile not event.query(): pass"),
    ],
)
def test_work_on_one_stream_is_there_once_it_was_waited_for(twin: Twin, stream: str, handle: str, wait: str) -> None:
    outcome = twin(_ASYNC.format(stream=stream, handle=handle, wait=wait)).clean()
    assert len(outcome.runs) == 1
    assert outcome.runs[0]["inputs"]["x"].tolist() == [[-1, 2, -3], [4, -5, 6]]


def test_a_synchronous_copy_waits_for_a_blocking_stream(twin: Twin) -> None:
    twin("""
    engine, context = load()
    d_x, d_y, stream = cuda.to_device(X), cuda.mem_alloc(X.nbytes), cuda.Stream()
    context.set_tensor_address("x", int(d_x))
    context.set_tensor_address("y", int(d_y))
    context.execute_async_v3(stream.handle)
    y = np.empty_like(X)
    cuda.memcpy_dtoh(y, d_y)
    assert np.array_equal(y, Y)
    """).clean()


def test_execute_v2_with_default_stream_copies(twin: Twin) -> None:
    twin("""
    engine, context = load()
    d_x, d_y = cuda.to_device(X), cuda.mem_alloc(X.nbytes)
    assert context.execute_v2([d_x, d_y])
    assert np.array_equal(cuda.from_device_like(d_y, X), Y)
    assert context.execute_v2(bindings=[int(d_x), np.uint64(int(d_y))])
    assert np.array_equal(cuda.from_device(d_y, (2, 3), np.float32), Y)
    """).clean()


def test_an_event_orders_two_streams(twin: Twin) -> None:
    twin("""
    engine, context = load()
    h_x, h_y = pinned(X), cuda.pagelocked_empty_like(X)
    d_x, d_y = cuda.mem_alloc(X.nbytes), cuda.mem_alloc(X.nbytes)
    copies, compute = cuda.Stream(1), cuda.Stream(1)
    context.set_tensor_address("x", int(d_x))
    context.set_tensor_address("y", int(d_y))
    copied, computed = cuda.Event(), cuda.Event(cuda.event_flags.DISABLE_TIMING)
    cuda.memcpy_htod_async(d_x, h_x, copies)
    copied.record(copies)
    compute.wait_for_event(copied)
    context.execute_async_v3(compute.handle)
    computed.record(compute)
    copies.wait_for_event(computed)
    cuda.memcpy_dtoh_async(h_y, d_y, copies)
    copies.synchronize()
    assert np.array_equal(h_y, Y)
    """).clean()


def test_a_double_buffered_pipeline(twin: Twin) -> None:
    outcome = twin("""
    engine, _ = load()
    slots = []
    for _ in range(2):
        context = engine.create_execution_context()
        h_x, h_y = (cuda.pagelocked_empty((2, 3), np.float32) for _ in range(2))
        slot = (context, cuda.Stream(), h_x, h_y, cuda.mem_alloc(24), cuda.mem_alloc(24))
        context.set_tensor_address("x", int(slot[4]))
        context.set_tensor_address("y", int(slot[5]))
        slots.append(slot)
    results, waiting = [], {}
    for batch in range(7):
        context, stream, h_x, h_y, d_x, d_y = slots[batch % 2]
        if batch % 2 in waiting:
            stream.synchronize()
            results.append(h_y.copy())
        h_x[...] = X + batch
        cuda.memcpy_htod_async(d_x, h_x, stream)
        context.execute_async_v3(stream.handle)
        cuda.memcpy_dtoh_async(h_y, d_y, stream)
        waiting[batch % 2] = True
    for batch in (5, 6):
        slots[batch % 2][1].synchronize()
        results.append(slots[batch % 2][3].copy())
    for batch, y in enumerate(results):
        assert np.array_equal(y, np.maximum(X + batch, 0)), batch
    assert len(results) == 7
    """).clean()
    assert len(outcome.runs) == 7


def test_buffers_serve_batches_of_many_sizes(twin: Twin) -> None:
    outcome = twin("""
    engine, context = load("batch")
    d_x, d_y, stream = cuda.mem_alloc(4 * 4 * 4), cuda.mem_alloc(4 * 4 * 4), cuda.Stream()
    for size in (4, 1, np.int64(3), 4):
        x = np.random.default_rng(0).normal(size=(size, 4)).astype(np.float32)
        assert context.set_input_shape("x", x.shape)
        assert tuple(context.get_tensor_shape("y")) == x.shape
        assert context.infer_shapes() == [] and context.all_binding_shapes_specified
        cuda.memcpy_htod(d_x, x)
        context.set_tensor_address("x", int(d_x))
        context.set_tensor_address("y", int(d_y))
        assert context.execute_async_v3(stream_handle=stream.handle)
        stream.synchronize()
        y = np.empty(tuple(context.get_tensor_shape("y")), trt.nptype(engine.get_tensor_dtype("y")))
        cuda.memcpy_dtoh(y, d_y)
        assert np.array_equal(y, np.maximum(x, 0))
    """).clean()
    assert [run["inputs"]["x"].shape[0] for run in outcome.runs] == [4, 1, 3, 4]


def test_contexts_and_profiles_of_one_engine(twin: Twin) -> None:
    twin("""
    # lacking 8: there a profile serves one context at a time
    engine, small = load("batch")
    large, stream = engine.create_execution_context(), cuda.Stream()
    assert engine.num_optimization_profiles == 2
    assert [tuple(s) for s in engine.get_tensor_profile_shape("x", 1)] == [(1, 4), (4, 4), (8, 4)]
    assert large.set_optimization_profile_async(1, stream.handle)
    stream.synchronize()
    assert large.active_optimization_profile == 1
    for context, size in ((small, 2), (large, 8), (small, 4)):
        x = np.arange(size * 4, dtype=np.float32).reshape(size, 4) - 5
        d_x, d_y = cuda.to_device(x), cuda.mem_alloc(x.nbytes)
        assert context.set_input_shape("x", trt.Dims(x.shape))
        assert context.execute_v2([int(d_x), int(d_y)])
        assert np.array_equal(cuda.from_device_like(d_y, x), np.maximum(x, 0))
    assert small.get_max_output_size("y") == 64 and large.get_max_output_size("y") == 128
    assert large.set_input_shape("x", (9, 4)) is False
    assert large.set_input_shape("x", (8, 4))
    """).clean()


def test_what_an_engine_tells_of_itself(twin: Twin) -> None:
    twin("""
    plan = open("two.plan", "rb").read()
    with trt.Runtime(LOGGER) as runtime, runtime.deserialize_cuda_engine(plan) as engine:
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        assert names == ["x", "y", "z"] == [engine[i] for i in range(3)]
        assert engine.get_tensor_mode("x") == trt.TensorIOMode.INPUT
        assert engine.get_tensor_mode("z") == trt.TensorIOMode.OUTPUT
        assert engine.get_tensor_dtype("x") == trt.float32 and tuple(engine.get_tensor_shape("z")) == (2, 3)
        assert engine.get_tensor_location("x") == trt.TensorLocation.DEVICE
        assert engine.get_tensor_bytes_per_component("x") == 4  # twin: elsewhere only of tensors that are vectorised
        with engine.create_execution_context() as context:
            assert context.engine == engine
            d = [cuda.to_device(X), cuda.to_device(X), cuda.mem_alloc(24)]
            assert context.execute_v2(d)
            assert np.array_equal(cuda.from_device_like(d[2], X), X + X)
    """).clean()


def test_copies_on_the_device_and_memset(twin: Twin) -> None:
    twin("""
    a, b, stream = cuda.to_device(X), cuda.mem_alloc(X.nbytes), cuda.Stream()
    cuda.memcpy_dtod(b, a, X.nbytes)
    assert np.array_equal(cuda.from_device_like(b, X), X)
    cuda.memset_d8(b, 0, X.nbytes)
    assert not cuda.from_device_like(b, X).any()
    cuda.memset_d32(b, 0x3f800000, 6)
    assert (cuda.from_device_like(b, X) == 1).all()
    cuda.memset_d16_async(b, 0, 12, stream)
    cuda.memcpy_dtod_async(int(b) + 4, a, 8, stream)
    stream.synchronize()
    assert cuda.from_device_like(b, X).tolist() == [[0, -1, 2], [0, 0, 0]]
    cuda.memset_d8(a, 1, 24)
    a.free()
    """).clean()


def test_a_memset_before_asynchronous_work_on_a_blocking_stream(twin: Twin) -> None:
    twin("""
    engine, context = load()
    d_x, d_y, stream = cuda.mem_alloc(24), cuda.mem_alloc(24), cuda.Stream()
    h_y = cuda.pagelocked_zeros((2, 3), np.float32)
    cuda.memset_d32(d_x, 0x40000000, 6)
    context.set_tensor_address("x", int(d_x))
    context.set_tensor_address("y", int(d_y))
    context.execute_async_v3(stream.handle)
    cuda.memcpy_dtoh_async(h_y, d_y, stream)
    stream.synchronize()
    assert (h_y == 2).all()
    """).clean()


def test_host_arrays_of_many_kinds(twin: Twin) -> None:
    twin("""
    import array
    d = cuda.mem_alloc(24)
    raw = X.tobytes()
    for host in (X, raw, bytearray(raw), memoryview(X), array.array("f", X.ravel()), np.asfortranarray(X).T.copy()):
        cuda.memcpy_htod(d, host)
    back = bytearray(24)
    cuda.memcpy_dtoh(back, d)
    assert np.frombuffer(back, np.float32).size == 6
    fortran = np.asfortranarray(X)
    cuda.memcpy_htod(d, fortran)
    assert np.array_equal(cuda.from_device(d, (2, 3), np.float32, order="F"), X)
    scalar = cuda.to_device(np.float32(3))
    zero = np.zeros((), np.float32)
    cuda.memcpy_dtoh(zero, scalar)
    assert zero == 3
    raw = np.empty(24, np.uint8)
    cuda.memcpy_dtoh(raw, d)
    cuda.memcpy_htod(d, np.empty(0, np.float32))
    """).clean()


def test_pinned_arrays_sliced_reshaped_and_in_fortran_order(twin: Twin) -> None:
    twin("""
    stream, d = cuda.Stream(), cuda.mem_alloc(48)
    big = cuda.pagelocked_empty((4, 3), np.float32)
    big[...] = np.arange(12).reshape(4, 3)
    cuda.memcpy_htod_async(d, big[1:3], stream)
    back = cuda.pagelocked_zeros(6, np.float32)
    cuda.memcpy_dtoh_async(back.reshape(2, 3), d, stream)
    stream.synchronize()
    assert back.tolist() == [3, 4, 5, 6, 7, 8]
    cuda.memcpy_htod_async(int(d) + 24, memoryview(big[:2]), stream)
    cuda.memcpy_dtoh_async(big.ravel().view(np.uint8)[24:], int(d) + 24, stream)
    stream.synchronize()
    assert big.ravel()[6:].tolist() == [0, 1, 2, 3, 4, 5]
    column = cuda.pagelocked_empty((2, 3), np.float32, order="F")
    assert column.flags.f_contiguous
    cuda.memcpy_dtoh_async(column, d, stream)
    stream.synchronize()
    """).clean()


def test_a_pinned_buffer_may_be_input_and_output_of_one_stream(twin: Twin) -> None:
    twin("""
    stream, a, b = cuda.Stream(), cuda.to_device(X), cuda.mem_alloc(24)
    host = pinned(Y)
    cuda.memcpy_htod_async(b, host, stream)
    cuda.memcpy_dtoh_async(host, a, stream)
    cuda.memcpy_htod_async(b, host, stream)      # takes what the copy before it brings
    stream.synchronize()
    assert np.array_equal(host, X)
    assert np.array_equal(cuda.from_device_like(b, X), X)
    """).clean()


def test_memory_goes_when_its_object_goes(twin: Twin) -> None:
    twin("""
    before = cuda.mem_get_info()[0]
    def use():
        memory = cuda.mem_alloc(1 << 20)
        assert cuda.mem_get_info()[0] == before - (1 << 20)  # twin
    use()
    assert cuda.mem_get_info()[0] == before  # twin
    cycle = [cuda.mem_alloc(16)]
    cycle.append(cycle)
    explicit = cuda.mem_alloc(16)
    explicit.free()
    """).clean()


def test_garbage_collected_in_the_middle_of_a_command(twin: Twin) -> None:
    twin("""
    import gc
    gc.set_threshold(1)
    for _ in range(30):
        cycle = [cuda.mem_alloc(16), cuda.Event(), cuda.Stream()]
        cycle.append(cycle)
        d = cuda.to_device(X)
        assert np.array_equal(cuda.from_device_like(d, X), X)
    """).clean()


def test_threads_with_contexts_of_their_own(twin: Twin) -> None:
    twin("""
    import threading
    failed = []
    def work():
        context = cuda.Device(0).make_context()
        try:
            for _ in range(20):
                d = cuda.to_device(X)
                if not np.array_equal(cuda.from_device_like(d, X), X): failed.append(1)
            d = None
        finally:
            context.pop()
    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not failed
    """).clean()


def test_an_output_of_float16(twin: Twin) -> None:
    twin("""
    engine, context = load("half")
    assert trt.nptype(engine.get_tensor_dtype("y")) == np.float16
    x = X.astype(np.float16)
    d_x, d_y = cuda.to_device(x), cuda.mem_alloc(12)
    context.execute_v2([d_x, d_y])
    assert np.array_equal(cuda.from_device(d_y, (2, 3), np.float16), Y)
    """).clean()


def test_a_tensor_without_dimensions(twin: Twin) -> None:
    twin("""
    engine, context = load("scalar")
    assert tuple(engine.get_tensor_shape("x")) == () == tuple(context.get_tensor_strides("x"))
    d_x, d_y = cuda.to_device(np.float32(-2)), cuda.mem_alloc(4)
    assert context.execute_v2([d_x, d_y])
    assert cuda.from_device(d_y, (), np.float32) == 0
    """).clean()


def test_the_primary_context_and_contexts_by_hand(twin: Twin) -> None:
    prelude = "import numpy as np\nimport tensorrt as trt\nimport pycuda.driver as cuda\nfrom helpers import *\n"
    twin(
        """
    cuda.init()
    assert cuda.Device.count() == 1
    context = cuda.Device(0).make_context()
    left = cuda.to_device(X)             # ends with its context
    context.detach()
    import pycuda.autoprimaryctx
    engine, executor = load()
    d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
    assert executor.execute_v2([d_x, d_y])
    """,
        prelude=prelude,
    ).clean()


def test_an_engine_can_be_looked_at_without_a_context(twin: Twin) -> None:
    prelude = "import tensorrt as trt\nfrom helpers import *\n"
    twin("engine = load()[0]\nassert engine.num_io_tensors == 2", prelude=prelude).clean()


def test_the_time_between_two_events(twin: Twin) -> None:
    twin("""
    start, end, stream = cuda.Event(), cuda.Event(), cuda.Stream()
    start.record(stream)
    end.record(stream)
    end.synchronize()
    assert start.query() and end.query()
    assert end.time_since(start) >= 0 and start.time_till(end) >= 0
    """).clean()


def test_a_stream_that_goes_before_its_work_is_waited_for_by_the_context(twin: Twin) -> None:
    twin("""
    host, d = pinned(X), cuda.mem_alloc(24)
    def send():
        cuda.memcpy_htod_async(d, host, cuda.Stream())
    send()
    cuda.Context.synchronize()
    assert np.array_equal(cuda.from_device_like(d, X), X)
    """).clean()


def test_running_out_of_memory_can_be_caught(twin: Twin) -> None:
    """The one finding is the allocation itself; a program that asks for less afterwards works."""
    outcome = twin("""
    try:
        cuda.mem_alloc(1 << 50)  # <here>
    except cuda.MemoryError as error:
        assert "out of memory" in str(error)
    cuda.to_device(X)
    """)
    outcome.found("alloc", "bytes are free")
    assert not outcome.type
