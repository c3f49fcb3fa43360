"""Rarer forms of `pycuda.driver` and `cuda.bindings.runtime`: mapped memory, pitches, memory in stream order."""

from __future__ import annotations

import pytest

from tests.twin.capture_cases import PRELUDE as BOTH
from tests.twin.harness import Twin


def test_an_engine_works_on_mapped_host_memory(twin: Twin) -> None:
    outcome = twin("""
    engine, context = load()
    mapped = cuda.host_alloc_flags.DEVICEMAP
    h_x = cuda.pagelocked_empty((2, 3), np.float32, mem_flags=mapped)
    h_y = cuda.pagelocked_zeros((2, 3), np.float32, mem_flags=mapped)
    stream = cuda.Stream()
    h_x[...] = X
    context.set_tensor_address("x", h_x.base.get_device_pointer())
    context.set_tensor_address("y", h_y.base.get_device_pointer())
    assert context.execute_async_v3(stream.handle)
    assert np.isnan(h_y).all(), "nothing waited for it yet"
    stream.synchronize()
    assert np.array_equal(h_y, Y)
    h_x += 1
    assert context.execute_v2([h_x.base.get_device_pointer(), h_y.base.get_device_pointer()])
    assert np.array_equal(h_y, np.maximum(X + 1, 0))
    """).clean()
    assert [run["inputs"]["x"][0][0] for run in outcome.runs] == [-1, 0]
    assert not {entry[0] for entry in outcome.log} & {"htod", "htod_async", "dtoh", "dtoh_async"}, "they are no copies"


def test_mapped_memory_of_the_runtime_and_of_arrays_that_it_registers(twin: Twin) -> None:
    twin(
        """
        engine, context = load()
        host = ok(cudart.cudaHostAlloc(24, cudart.cudaHostAllocMapped))
        import ctypes
        h_x = np.ctypeslib.as_array(ctypes.cast(host, ctypes.POINTER(ctypes.c_float)), (2, 3))
        h_x[...] = X
        mine = np.zeros((2, 3), np.float32)
        ok(cudart.cudaHostRegister(mine.ctypes.data, mine.nbytes, cudart.cudaHostRegisterMapped))
        context.set_tensor_address("x", ok(cudart.cudaHostGetDevicePointer(host, 0)))
        context.set_tensor_address("y", ok(cudart.cudaHostGetDevicePointer(mine.ctypes.data, 0)))
        stream = cuda.Stream()
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert np.array_equal(mine, Y)
        ok(cudart.cudaHostUnregister(mine.ctypes.data))
        ok(cudart.cudaFreeHost(host))
        """,
        prelude=BOTH,
    ).clean()


_MAPPED = """
engine, context = load()
h_x = cuda.pagelocked_empty((2, 3), np.float32, mem_flags=2)
h_x[...] = X
d_y, stream = cuda.mem_alloc(24), cuda.Stream()
context.set_tensor_address("x", h_x.base.get_device_pointer())
context.set_tensor_address("y", int(d_y))
"""


@pytest.mark.parametrize(
    ("body", "kind", "words", "error"),
    [
        (_MAPPED + "context.execute_async_v3(stream.handle)\nh_x += 1\nstream.synchronize()  # <here>",
         "host-changed", "was changed", "LogicError"),
        (_MAPPED + "context.execute_async_v3(stream.handle)  # <here>\ndel h_x\nstream.synchronize()",
         "freed", "mapped host memory", ""),
        (_MAPPED + "h_x.base.free()\ncontext.execute_async_v3(stream.handle)  # <here>",
         "freed", "mapped host memory", "LogicError"),
        (_MAPPED.replace("np.float32, mem", "np.float64, mem")
         + "context.execute_async_v3(stream.handle)  # <here>\nstream.synchronize()", "dtype", "float64", ""),
        (_MAPPED.replace("(2, 3), np.float32, mem", "(1, 3), np.float32, mem").replace("= X", "= X[:1]")
         + "context.execute_async_v3(stream.handle)  # <here>", "too-small", "'x'", "LogicError"),
    ],
)  # fmt: skip
def test_mistakes_with_mapped_memory_are_named(twin: Twin, body: str, kind: str, words: str, error: str) -> None:
    outcome = twin(body).found(kind, words)
    assert outcome.type == error, outcome.trace


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ("cuda.pagelocked_empty(3, np.float32).base.get_device_pointer()", "LogicError", "not mapped"),
        (_MAPPED + "cuda.memcpy_dtoh(np.empty(6, np.float32), h_x.base.get_device_pointer())", "NotImplementedError",
         "use the host array"),
        (_MAPPED + "cuda.memset_d8(h_x.base.get_device_pointer(), 0, 24)", "NotImplementedError", "use the host array"),
    ],
)  # fmt: skip
def test_what_mapped_memory_is_not_for(twin: Twin, body: str, error: str, says: str) -> None:
    outcome = twin(body)
    assert outcome.type == error, outcome.trace
    assert says in outcome.message


def test_rectangles_are_copied_row_by_row(twin: Twin) -> None:
    twin("""
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    memory, pitch = cuda.mem_alloc_pitch(24, 4, 4)
    assert pitch >= 24 and pitch % 256 == 0
    copy = cuda.Memcpy2D()
    copy.set_src_host(whole)
    copy.set_dst_device(memory)
    copy.width_in_bytes = copy.src_pitch = 24
    copy.dst_pitch, copy.height = pitch, 4
    copy(aligned=True)
    for row in range(4):
        assert np.array_equal(cuda.from_device(int(memory) + row * pitch, 6, np.float32), whole[row])
    part = cuda.pagelocked_zeros((2, 3), np.float32)
    back, stream = cuda.Memcpy2D(), cuda.Stream()
    back.set_src_device(memory)
    back.set_dst_host(part)
    back.src_pitch, back.src_x_in_bytes, back.src_y = pitch, 8, 1
    back.width_in_bytes = back.dst_pitch = 12
    back.height = 2
    back(stream)
    stream.synchronize()
    assert np.array_equal(part, whole[1:3, 2:5])
    twin_ = cuda.mem_alloc(96)
    across = cuda.Memcpy2D()
    across.set_src_device(memory)
    across.set_dst_device(twin_)
    across.src_pitch, across.dst_pitch, across.width_in_bytes, across.height = pitch, 24, 24, 4
    across(True)
    assert np.array_equal(cuda.from_device(twin_, (4, 6), np.float32), whole)
    for change in (dict(height=5), dict(dst_pitch=8)):
        for name, value in {"height": 2, "dst_pitch": 12, **change}.items():
            setattr(back, name, value)
        try:
            back(aligned=False)
        except cuda.LogicError as error:
            assert "invalid argument" in str(error)
        else:
            raise AssertionError(change)
    """).clean()


def test_what_a_device_and_a_context_say(twin: Twin) -> None:
    outcome = twin("""
    device = cuda.Device(0)
    kinds = cuda.device_attribute
    assert device.get_attribute(kinds.COMPUTE_CAPABILITY_MAJOR) == device.compute_capability()[0] == 8
    assert device.get_attributes()[kinds.CAN_MAP_HOST_MEMORY] == 1 == device.can_map_host_memory
    assert cuda.Context.get_device() == device == pycuda.autoinit.device
    assert cuda.Context.get_current() == pycuda.autoinit.context
    own = device.make_context()
    assert cuda.Context.get_current() == own != pycuda.autoinit.context
    own.pop()
    own.detach()
    for missing in ("no_such_thing",):
        try:
            getattr(device, missing)
        except AttributeError as error:
            assert "the twin" in str(error)
    assert issubclass(cuda.LaunchError, cuda.Error) and issubclass(cuda.RuntimeError, cuda.Error)
    try:
        cuda.In
    except AttributeError as error:
        assert "the twin's pycuda.driver has no 'In'" in str(error)
    pycuda.autoinit.context.pop()
    try:
        cuda.Context.get_current()  # <here>
    except cuda.LogicError as error:
        assert "no CUDA context" in str(error)
    pycuda.autoinit.context.push()
    """).found("context", "no CUDA context")
    assert (outcome.type, len(outcome.findings)) == ("", 1), outcome.trace


_ORDERED = """
engine, context = load()
stream = ok(cudart.cudaStreamCreate())
other = ok(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
h = pinned(X)
kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
"""


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("d = ok(cudart.cudaMallocAsync(24, stream))\ncudart.cudaMemcpyAsync(d, h, 24, kind, other)  # <here>",
         "race", "cudaMallocAsync"),
        ("d = ok(cudart.cudaMalloc(24))\ncudart.cudaMemcpyAsync(d, h, 24, kind, other)\n"
         "cudart.cudaFreeAsync(d, stream)  # <here>", "race", "cudaFreeAsync"),
        ("d = ok(cudart.cudaMallocAsync(24, stream))\nok(cudart.cudaFreeAsync(d, stream))\n"
         "cudart.cudaMemcpyAsync(d, h, 24, kind, stream)  # <here>", "freed", "was freed"),
        ("d = ok(cudart.cudaMallocAsync(24, stream))\nok(cudart.cudaFreeAsync(d, stream))\n"
         "cudart.cudaFreeAsync(d, stream)  # <here>", "free", "freed twice"),
        ("d = ok(cudart.cudaMalloc(24))\ncudart.cudaFreeAsync(d + 8, stream)  # <here>", "free", "not the start"),
        ("d = ok(cudart.cudaMallocAsync(24, stream))  # <here>", "leak", "never freed"),
    ],
)  # fmt: skip
def test_memory_in_the_order_of_a_stream_is_not_for_others(twin: Twin, body: str, kind: str, words: str) -> None:
    twin(_ORDERED + body, prelude=BOTH).found(kind, words)


def test_work_before_a_free_in_order_still_has_its_memory(twin: Twin) -> None:
    outcome = twin(
        _ORDERED
        + """
d_x, d_y = ok(cudart.cudaMallocAsync(24, stream)), ok(cudart.cudaMallocAsync(24, stream))
ok(cudart.cudaMemcpyAsync(d_x, h, 24, kind, stream))
context.set_tensor_address("x", d_x)
context.set_tensor_address("y", d_y)
assert context.execute_async_v3(stream)
y = cuda.pagelocked_empty((2, 3), np.float32)
ok(cudart.cudaMemcpyAsync(y, d_y, 24, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream))
before = ok(cudart.cudaMemGetInfo())[0]
ok(cudart.cudaFreeAsync(d_x, stream))
ok(cudart.cudaFreeAsync(d_y, stream))
ok(cudart.cudaStreamSynchronize(stream))
assert np.array_equal(y, Y)
assert ok(cudart.cudaMemGetInfo())[0] == before + 48
""",
        prelude=BOTH,
    ).clean()
    assert len(outcome.runs) == 1
