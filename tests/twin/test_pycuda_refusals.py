"""What PyCUDA 2026.1 refuses, the twin refuses with the same kind of error.

Each line that launches no kernel was tried on PyCUDA itself as well, over a CUDA driver that only says success, which
shows all but what the driver itself refuses (`init(1)`, a device on no such bus).  There a shape of floats is an
ArgumentError, which is a TypeError.
"""

from __future__ import annotations

import pytest

from tests.twin.capture_cases import PRELUDE as BOTH
from tests.twin.harness import Twin

_PRELUDE = """\
import numpy as np
import pycuda.driver as cuda
import pycuda.autoinit
from pycuda import gpuarray
import tensorrt as trt
A = np.arange(6, dtype=np.float32).reshape(2, 3)
class Holder:
    def __index__(self):
        return int(HELD)
    __int__ = __index__
def try_all(lines):
    global HELD
    a, b, s, e = cuda.to_device(A), cuda.to_device(A), cuda.Stream(), cuda.Event()
    HELD = a
    copy, array = cuda.Memcpy2D(), gpuarray.to_gpu(A)
    flags = cuda.event_flags
    h = np.empty((2, 3), np.float32)
    told = []
    for line in lines:
        try:
            exec(line, {**globals(), **locals()})
        except BaseException as error:
            told.append((type(error).__mro__[0].__name__, str(error), isinstance(error, TypeError)))
        else:
            told.append(("", "", False))
    return told
"""

_ARGUMENTS = [
    *[f"cuda.mem_alloc({value})" for value in (
        "np.int64(24)", "np.uint64(24)", "np.int32(24)", "np.float64(24)", "24.0", "np.bool_(True)", "'24'", "None",
        "[24]", "np.array(24)", "a", "24, 24", "bytes=24", "size=24", "np.prod((2, 3)) * 4", "Holder()",
    )],
    "cuda.Stream(np.int64(1))", "cuda.Stream(1.0)", "cuda.Stream(priority=1)", "cuda.Event(np.int32(1))",
    "s.wait_for_event(None)", "s.wait_for_event(event=e)", "e.time_since(event=e)", "e.time_till(s)",
    "cuda.memset_d8(a, 0, count=24)", "cuda.memset_d8(a, np.uint8(0), 24)", "cuda.memset_d8(a, 0, np.int64(24))",
    "cuda.memset_d32(a, 0.0, 6)", "cuda.memset_d8(np.int64(int(a)), 0, 24)", "cuda.memset_d8_async(a, 0, A.sum(), s)",
    "cuda.memcpy_htod(np.int64(int(a)), A)", "cuda.memcpy_htod(np.uintp(int(a)), A)",
    "cuda.memcpy_htod(Holder(), A)",
    "cuda.memcpy_htod(None, A)", "cuda.memcpy_htod(A, a)", "cuda.memcpy_htod(array, A)", "cuda.memcpy_dtoh(a, A)",
    "cuda.memcpy_dtoh(h, np.int64(int(a)))", "cuda.memcpy_dtoh(h, array)",
    "cuda.from_device(np.int64(int(a)), 6, 'f4')",
    "cuda.memcpy_dtod(a, b, np.int64(24))", "cuda.memcpy_dtod(a, b, 24.0)",
    "cuda.memcpy_dtod_async(a, b, np.int8(24), s)",
    "cuda.mem_alloc_pitch(np.int32(24), 4, 4)", "cuda.pagelocked_empty(3, 'f4', mem_flags=np.int32(2))",
    "cuda.aligned_empty(3, 'f4', alignment=np.int64(64))", "cuda.Device(np.int64(0))", "cuda.Device(number=0)",
    "cuda.Device(0).get_attribute(75)", "cuda.Device(0).get_attribute(np.int64(75))",
    "cuda.Device(0).get_attribute(attr=cuda.device_attribute.WARP_SIZE)", "cuda.Device(0).make_context(np.int32(0))",
    "copy.height = np.int64(2)", "copy.src_pitch = 4.0", "copy.set_dst_device(np.int64(int(a)))",
    "copy.set_src_device(devptr=a)", "copy()", "copy(stream=s)", "copy(np.bool_(True))", "copy(1.0)",
    "cuda.Memcpy2D(1)",
    "cuda.register_host_memory(A, np.int32(1))", "array[np.int64(1)].get()", "gpuarray.empty((0, 3), 'f4').copy()",
    "gpuarray.GPUArray((2,), np.float32, gpudata=np.int64(array.ptr)).get()",
]  # fmt: skip
_OTHERS = [  # line, the error's name, a word of it
    ("cuda.mem_alloc(-1)", "OverflowError", "negative"),
    ("cuda.mem_alloc(1 << 64)", "OverflowError", "too large"),
    ("cuda.memcpy_htod(-1, A)", "OverflowError", "negative"),
    ("cuda.memcpy_htod(1 << 64, A)", "OverflowError", "too big"),
    ("cuda.Device('0000:01:00.0')", "LogicError", "Device(0)"),
    ("cuda.Stream(-1)", "OverflowError", "negative"),
    ("cuda.Stream(1 << 32)", "OverflowError", "positive overflow"),
    ("cuda.memset_d8(a, 256, 24)", "OverflowError", "positive overflow"),
    ("cuda.memset_d16(a, 1 << 16, 12)", "OverflowError", "positive overflow"),
    ("cuda.memset_d32(a, -1, 6)", "OverflowError", "negative"),
    ("copy.height = -1", "OverflowError", "negative"),
    ("gpuarray.GPUArray((-3,), np.float32)", "OverflowError", "negative"),
    *[(f"cuda.{name}()", "RuntimeError", "cannot be instantiated from Python") for name in (
        "DeviceAllocation", "Context", "PagelockedHostAllocation", "host_alloc_flags", "mem_host_register_flags")],
    ("cuda.DeviceAllocation(24)", "RuntimeError", "cannot be instantiated from Python"),
    *[(f"__import__('copy').{how}({what})", "RuntimeError", "Pickling of \"pycuda._driver.") for how, what in (
        ("copy", "a"), ("copy", "s"), ("copy", "e"), ("copy", "copy"), ("copy", "cuda.Device(0)"), ("deepcopy", "[a]"),
        ("copy", "cuda.Context.get_current()"), ("copy", "cuda.pagelocked_empty(3, 'f4').base"))],
    ("__import__('pickle').dumps(a)", "RuntimeError", "DeviceAllocation"),
    ("e.record(0)", "TypeError", "pycuda::stream"),
    ("e.record(s.handle)", "TypeError", "pycuda::stream"),
    ("cuda.memset_d8_async(a, 0, 24, s.handle)", "TypeError", "pycuda::stream"),
    ("cuda.memcpy_htod_async(a, A, s.handle)", "TypeError", "pycuda::stream"),
    ("cuda.memcpy_dtoh_async(h, a, 's')", "TypeError", "pycuda::stream"),
    ("e.handle", "AttributeError", "handle"),
    ("s.handle = 3", "AttributeError", "handle"),
    ("cuda.pagelocked_empty(np.int64(3), 'f4')", "AttributeError", "int(...)"),
    ("cuda.pagelocked_empty(np.prod(A.shape), 'f4')", "AttributeError", "int(...)"),
    ("cuda.pagelocked_empty(3.0, 'f4')", "AttributeError", "__iter__"),
    ("cuda.pagelocked_empty(trt.Dims((2, 3)), 'f4')", "AttributeError", "tuple(...)"),
    ("cuda.pagelocked_empty((np.int64(3), 2), 'f4')", "TypeError", "numpy.int64"),
    ("cuda.pagelocked_zeros(np.array([3, 2]), 'f4')", "TypeError", "numpy.int64"),
    ("cuda.pagelocked_empty(-3, 'f4')", "ValueError", "negative"),
    ("cuda.pagelocked_empty((2, 3), 'f4', 'A')", "LogicError", "order"),
    ("cuda.pagelocked_empty_like(A[:, ::2])", "ValueError", "order"),
    ("cuda.aligned_empty(3, 'f4', alignment=3)", "LogicError", "power of two"),
    ("cuda.register_host_memory([1])", "LogicError", "not a numpy array"),
    ("cuda.register_host_memory(np.asfortranarray(A))", "LogicError", "not contiguous"),
    ("cuda.memcpy_htod(a, [1.0])", "TypeError", "bytes-like"),
    ("cuda.memcpy_htod(a, 1.0)", "TypeError", "bytes-like"),
    ("cuda.memcpy_htod(a, A[:, 1:])", "ValueError", "contiguous"),
    ("cuda.memcpy_dtoh(bytes(24), a)", "BufferError", "writable"),
    ("cuda.memcpy_dtoh(np.float32(0), a)", "BufferError", "writable"),
    ("cuda.to_device([1.0])", "TypeError", "bytes-like"),
    ("copy.set_dst_host(b'abc')", "BufferError", "writable"),
    ("copy.set_src_host([1])", "TypeError", "bytes-like"),
    ("cuda.init(1)", "LogicError", "invalid argument"),
    ("flags['DEFAULT']", "TypeError", "subscriptable"),
    ("list(flags)", "TypeError", "not iterable"),
    ("flags.__members__", "AttributeError", "__members__"),
    ("flags.DEFAULT.value", "AttributeError", "value"),
    ("flags(9).name", "AttributeError", "name"),
    ("a + 1", "TypeError", "unsupported operand"),
    ("array.copy(None)", "TypeError", "positional"),
    ("gpuarray.to_gpu(np.float32(3))", "TypeError", "src must be"),
    ("gpuarray.GPUArray((2.0, 3), np.float32)", "TypeError", "integers"),
    ("gpuarray.GPUArray((3,), np.float32, base=array)", "AssertionError", "base"),
    ("gpuarray.arange(stop=3, dtype=np.float32)", "IndexError", "out of range"),
    ("gpuarray.arange(3, dtype=np.float32, stream=None)", "ValueError", "stream"),
    ("gpuarray.zeros((0, 3), np.float32)", "error", "not an integer"),
    ("gpuarray.empty((0, 3), np.float32).reshape(3, 0)", "TypeError", "NoneType"),
    ("gpuarray.empty((0, 3), np.float32).ptr", "AttributeError", "NoneType"),
    ("gpuarray.to_gpu(np.asfortranarray(np.int32(A))) + 0.5", "ValueError", "Fortran"),
    ("array == None", "AssertionError", "number"),
]  # fmt: skip
_ALLOWED = [
    "cuda.mem_alloc(True)", "cuda.mem_alloc(A.nbytes)", "cuda.mem_alloc(24).free()", "cuda.mem_alloc_like(ary=A)",
    "cuda.Stream(flags=1)", "cuda.Event(flags=flags.BLOCKING_SYNC | flags.DISABLE_TIMING)", "cuda.Event(flags.DEFAULT)",
    "assert e.record(stream=s) is e is e.synchronize()", "e.record(None)", "s.wait_for_event(e)",
    "cuda.memset_d8(dest=a, data=0, size=24)", "cuda.memset_d16_async(dest=a, data=65535, size=12, stream=s)",
    "cuda.memset_d32_async(a, 0, 6, None)", "cuda.memcpy_htod(int(a), A)", "cuda.memcpy_htod(dest=a, src=A)",
    "cuda.memcpy_htod(a, np.float32(1))", "cuda.memcpy_htod(a, bytes(24))", "cuda.memcpy_dtoh(bytearray(24), a)",
    "cuda.memcpy_dtod(dest=a, src=b, size=24)", "cuda.memcpy_dtod_async(a, b, 24, stream=s)",
    "cuda.mem_alloc_pitch(width=24, height=4, access_size=4)", "assert cuda.pagelocked_empty(3, 'f4').shape == (3,)",
    "assert cuda.pagelocked_empty([2, 3], np.float32, 'F').strides == (4, 8)", "cuda.pagelocked_empty((), None)",
    "assert cuda.pagelocked_empty((x for x in (2, 3)), 'f4', mem_flags=cuda.host_alloc_flags.DEVICEMAP | 1).size == 6",
    "assert cuda.aligned_empty((2, 3), 'f4', alignment=64).ctypes.data % 64 == 0",
    "assert int(flags.BLOCKING_SYNC) == 1 == flags.BLOCKING_SYNC and type(flags.DISABLE_TIMING | 1) is int",
    "assert (str(flags.DEFAULT), flags.DEFAULT.name, f'{flags.DEFAULT}') == ('DEFAULT',) * 3",
    "assert repr(flags.DEFAULT) == 'pycuda._driver.event_flags.DEFAULT' and flags.values[2] is flags.DISABLE_TIMING",
    "assert __import__('copy').deepcopy(flags.DISABLE_TIMING) == 2",
    "assert cuda.pagelocked_empty(3, 'f4').base.__class__.__module__ == cuda.Stream.__module__ == 'pycuda._driver'",
    "assert cuda.ctx_flags.BLOCKING_SYNC == cuda.ctx_flags.SCHED_BLOCKING_SYNC == 4",
    "assert cuda.Device(0).get_attribute(cuda.device_attribute.WARP_SIZE) == 32",
    "f = np.asfortranarray(A)\nassert cuda.from_device(cuda.to_device(f), 6, 'f4').tolist() == [0, 1, 2, 3, 4, 5]",
    "assert cuda.from_device(cuda.to_device(A[:, ::2]), 4, 'f4').tolist() == [0, 2, 3, 5]",
    "f = np.asfortranarray(A)\nassert cuda.from_device_like(a, f).flags.f_contiguous",
    "assert cuda.from_device(a, np.int64(6), np.float32).shape == (6,)",
    "assert (array[1].get() == A[1]).all() and (array[np.int64(1):].get() == A[1:]).all()",
    "assert (gpuarray.GPUArray((np.int64(2), 3), np.float32).set(A) is None)",
]  # fmt: skip


def test_arguments_of_the_wrong_type_are_no_match(twin: Twin) -> None:
    outcome = twin("return try_all(args[0])", _ARGUMENTS, prelude=_PRELUDE)
    assert not outcome.type, outcome.trace
    told = outcome.value
    for line, (kind, message, is_type_error) in zip(_ARGUMENTS, told, strict=True):
        assert kind == "ArgumentError" and is_type_error, (line, kind, message)
        assert message.startswith("Python argument types in\n    ") and "did not match C++ signature:\n" in message, (
            line
        )
        wants_int = "np.int" in line or "np.uint" in line or "float" in line.partition("(")[2][:9]
        if wants_int and "np.float32" not in line:
            assert "int(...)" in message, (line, message)
    assert (
        "pycuda._driver.mem_alloc(numpy.int64)\ndid not match C++ signature:\n    mem_alloc(unsigned long)"
        in told[0][1]
    )


def test_what_else_is_refused(twin: Twin) -> None:
    outcome = twin("return try_all(args[0])", [line for line, _, _ in _OTHERS], prelude=_PRELUDE)
    assert not outcome.type, outcome.trace
    for (line, kind, word), (found, message, _) in zip(_OTHERS, outcome.value, strict=True):
        assert found == kind and word in message, (line, found, message)


def test_what_is_close_to_that_and_allowed(twin: Twin) -> None:
    outcome = twin("return try_all(args[0])", _ALLOWED, prelude=_PRELUDE)
    assert not outcome.type, outcome.trace
    assert [(line, told) for line, told in zip(_ALLOWED, outcome.value, strict=True) if told[0]] == []


@pytest.mark.parametrize("array", ["np.zeros((2, 3), np.float32)", "cuda.aligned_zeros((2, 3), np.float32)"])
def test_register_host_memory_is_refused_since_pycuda_crashes(twin: Twin, array: str) -> None:
    outcome = twin(f"cuda.register_host_memory({array})  # <here>").found(
        "crash", "pagelocked_empty", "cudaHostRegister"
    )
    assert outcome.type == "LogicError", outcome.trace


def test_what_the_refusal_names_instead_works(twin: Twin) -> None:
    twin(
        """
        mine, stream, d = X.copy(), cuda.Stream(), cuda.mem_alloc(24)
        ok(cudart.cudaHostRegister(mine.ctypes.data, mine.nbytes, 0))
        cuda.memcpy_htod_async(d, mine, stream)
        stream.synchronize()
        mine[...] = 0
        cuda.memcpy_dtoh_async(mine, d, stream)
        assert np.isnan(mine).all()
        stream.synchronize()
        assert np.array_equal(mine, X)
        ok(cudart.cudaHostUnregister(mine.ctypes.data))
        """,
        prelude=BOTH,
    ).clean()


def test_registered_memory_is_pageable_again_afterwards(twin: Twin) -> None:
    body = """
    mine, stream, d = X.copy(), cuda.Stream(), cuda.mem_alloc(24)
    ok(cudart.cudaHostRegister(mine.ctypes.data, mine.nbytes, 0))
    ok(cudart.cudaHostUnregister(mine.ctypes.data))
    cuda.memcpy_htod_async(d, mine, stream)  # <here>
    """
    assert twin(body, prelude=BOTH).found("pageable", "pageable").type == "LogicError"
