"""`pycuda.gpuarray` on the twin: transfer, arithmetic against NumPy in float64, views, and what it must refuse."""

from __future__ import annotations

import numpy as np
import pytest

from grader.inside.trtprep_worker.addresses import DEVICE_START
from grader.twin.array_commands import KERNELS
from tests.twin.harness import Outcome, Twin
from tests.twin.raw_client import Client

_PRELUDE = """\
import numpy as np
import tensorrt as trt
import pycuda.driver as cuda
import pycuda.autoinit
from pycuda import gpuarray
import pycuda.gpuarray as ga
from helpers import *
A = np.array([[-1.5, 2, -3], [4, -5, 0.25]], np.float32)
B = np.array([[1, 2, 4], [8, 0.5, -1]], np.float32)
def raises(kind, do, words=""):
    try:
        do()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError("no " + kind.__name__)
"""


def _run(twin: Twin, body: str, *arguments: object) -> Outcome:
    return twin(body, *arguments, prelude=_PRELUDE)


def test_an_engine_reads_and_writes_arrays(twin: Twin) -> None:
    outcome = _run(
        twin,
        """
        engine, context = load()
        x, y = gpuarray.to_gpu(X), gpuarray.empty((2, 3), np.float32)
        assert (x.shape, x.dtype, x.nbytes, x.size, x.ndim, len(x)) == ((2, 3), np.float32, 24, 6, 2, 2)
        assert x.ptr == int(x.gpudata)
        context.set_tensor_address("x", x.gpudata)
        context.set_tensor_address("y", y.ptr)
        stream = cuda.Stream()
        assert context.execute_async_v3(stream.handle)
        got = y.get_async(stream, ary=cuda.pagelocked_empty((2, 3), np.float32))
        assert np.isnan(got).all()
        stream.synchronize()
        assert np.array_equal(got, Y)
        assert context.execute_v2([(x + 1).gpudata, int(y.gpudata)])
        assert np.array_equal(y.get(), np.maximum(X + 1, 0))
        return str(y) == str(y.get()) and repr(y) == repr(y.get())
    """,
    ).clean()
    assert outcome.value is True
    assert [run["inputs"]["x"].tolist()[0][0] for run in outcome.runs] == [-1, 0]


_EXPRESSIONS = [
    "a + b", "a - b", "a * b", "a / b", "-a", "+a", "abs(a)", "a + 2", "2 + a", "a - 0.5", "3 - a", "a * -1.5",
    "0.25 * a", "a / 4", "2 / b", "abs(a) ** 2", "abs(a) ** abs(b)", "2 ** a", "a + 0", "a / 1", "a == b", "a != b",
    "a < b", "a <= 2", "a > 0.25", "a >= b", "a * s", "s - a", "a.mul_add(2, b, -3) if hasattr(a, 'ptr') else 2*a-3*b",
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arithmetic_is_that_of_numpy(twin: Twin, dtype: str) -> None:
    _run(
        twin,
        """
        a, b, s = A.astype(args[0]), B.astype(args[0]), np.array(1.5, args[0])
        on = {"a": gpuarray.to_gpu(a), "b": gpuarray.to_gpu(b), "s": gpuarray.to_gpu(s)}
        for text in args[1]:
            want = eval(text, {"a": a.astype(np.float64), "b": b.astype(np.float64), "s": s.astype(np.float64)})
            got = eval(text, dict(on))
            assert isinstance(got, gpuarray.GPUArray) and got.dtype == args[0], (text, got.dtype)
            error = np.abs(got.get() - want).max() / max(np.abs(want).max(), 1)
            assert got.shape == want.shape and error < 1e-6, (text, got, want)
        for name, array in (("a", a), ("b", b)):
            assert np.array_equal(on[name].get(), array), "an operand changed"
    """,
        dtype,
        _EXPRESSIONS,
    ).clean()


def test_arithmetic_of_integers(twin: Twin) -> None:
    _run(
        twin,
        """
        i, j = np.array([1, -2, 7], np.int32), np.array([3, 4, -5], np.int32)
        a, b = gpuarray.to_gpu(i), gpuarray.to_gpu(j)
        for text in ("a + b", "a - b", "a * b", "a * 3", "5 - a", "-a", "abs(a)", "a == b", "a > 0"):
            got, want = eval(text, {"a": a, "b": b}), eval(text, {"a": i, "b": j})
            assert got.dtype == np.int32 and np.array_equal(got.get(), want), text
        half = a * 0.5
        assert half.dtype == np.float64 and np.array_equal(half.get(), [0.5, -1, 3.5])
        assert np.array_equal((a / 2.0).get(), [0.5, -1, 3.5])
        bytes_ = gpuarray.to_gpu(np.uint8([250, 10]))
        assert (bytes_ + gpuarray.to_gpu(np.uint8([10, 10]))).get().tolist() == [4, 20]
    """,
    ).clean()


def test_in_place_forms_write_the_same_memory(twin: Twin) -> None:
    _run(
        twin,
        """
        a = gpuarray.to_gpu(A)
        at, b = a.ptr, gpuarray.to_gpu(B)
        a += b; a -= 1; a *= 2; a /= b; a /= 4; a *= b; a += 1; a **= 2
        want = ((((A.astype(np.float64) + B - 1) * 2 / B / 4) * B) + 1) ** 2
        assert a.ptr == at and np.allclose(a.get(), want, rtol=1e-5, atol=0)
        assert a.fill(7) is a and (a.get() == 7).all()
    """,
    ).clean()


def test_arrays_of_every_make(twin: Twin) -> None:
    _run(
        twin,
        """
        import warnings
        for made, want in (
            (gpuarray.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)),
            (gpuarray.zeros(4), np.zeros(4)),
            (gpuarray.ones((2,), np.int8), np.ones(2, np.int8)),
            (gpuarray.zeros_like(gpuarray.to_gpu(A)), np.zeros_like(A)),
            (gpuarray.ones_like(gpuarray.to_gpu(A), np.int32), np.ones((2, 3), np.int32)),
            (gpuarray.arange(5, dtype=np.float32), np.arange(5, dtype=np.float32)),
            (gpuarray.arange(2, 9, 3, dtype=np.int32), np.array([2, 5, 8], np.int32)),
            (gpuarray.arange(0, 1, 0.25, dtype=np.float64), np.array([0, 0.25, 0.5, 0.75])),
            (gpuarray.to_gpu(np.array(3, np.float32)), np.float32(3)),
            (gpuarray.to_gpu(np.asfortranarray(A)), A),
            (gpuarray.to_gpu(A.astype(np.float16)), A.astype(np.float16)),
            (gpuarray.to_gpu(A).astype(np.int32), np.array([[-1, 2, -3], [4, -5, 0]], np.int32)),
            (gpuarray.to_gpu(A).astype(np.float64), A.astype(np.float64)),
            (gpuarray.to_gpu(A).copy(), A),
        ):
            got = made.get()
            assert got.dtype == want.dtype and got.shape == want.shape and np.array_equal(got, want), want
        assert gpuarray.empty_like(gpuarray.to_gpu(A)).dtype == np.float32
        empty = gpuarray.empty((0, 3), np.float32)
        assert empty.gpudata is None and empty.get().shape == (0, 3) == empty.reshape(0, 3).shape
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert gpuarray.arange(3).dtype == np.int64
        assert "arange guessed dtype" in str(told[0].message)
        h = pinned(A)
        stream = cuda.Stream()
        a = gpuarray.to_gpu_async(h, stream=stream)
        stream.synchronize()
        assert np.array_equal(a.get(), A) and np.array_equal(a.get(pagelocked=True), A)
        a.set(B)
        assert np.array_equal(a.get(), B)
        made = gpuarray.GPUArray((2, 3), np.float32, gpudata=a.gpudata, base=a)
        assert np.array_equal(made.get(), B)
        assert made.__cuda_array_interface__["data"] == (a.ptr, False)
    """,
    ).clean()


def test_views_are_parts_of_the_same_memory(twin: Twin) -> None:
    _run(
        twin,
        """
        whole = np.arange(24, dtype=np.float32).reshape(4, 6)
        a = gpuarray.to_gpu(whole)
        for get in (lambda m: m[1], lambda m: m[1:3], lambda m: m[-1], lambda m: m[2, 1:4], lambda m: m[..., 0, :],
                    lambda m: m[None, 2], lambda m: m.reshape(2, 12), lambda m: m.reshape((3, -1)), lambda m: m.ravel(),
                    lambda m: m[1:2].squeeze(), lambda m: m.T, lambda m: m.view(np.uint8), lambda m: m[3, 5],
                    lambda m: m[2:3, 0]):
            part, want = get(a), get(whole)
            assert part.shape == want.shape and np.array_equal(part.get(), want), (part.shape, want.shape)
        row = a[2]
        assert row.ptr == a.ptr + 48 and row.base is a
        a[0] = 5
        a[1] = np.full(6, 6, np.float32)
        a[3] = a[2]
        row += 1
        assert np.array_equal(a.get(), [[5] * 6, [6] * 6, list(range(13, 19)), list(range(12, 18))])
        at = a.ptr
        del a
        assert np.array_equal(row.get(), range(13, 19)), "the view kept the memory"
    """,
    ).clean()


def test_what_pycuda_refuses_and_what_it_would_get_wrong(twin: Twin) -> None:
    _run(
        twin,
        """
        a, i = gpuarray.to_gpu(A), gpuarray.to_gpu(np.int32([1, 2, 3]))
        flat = gpuarray.to_gpu(np.float32([1, 2]))
        raises(ValueError, lambda: a.set(A[:1]), "same size")
        raises(ValueError, lambda: a.set(A.astype(np.float64)), "same dtype")
        raises(TypeError, lambda: a.get(np.empty((2, 3))), "same dtype")
        raises(ValueError, lambda: a.get(np.empty(5, np.float32)), "same size")
        raises(ValueError, lambda: a.reshape(4, 2), "total size")
        raises(ValueError, lambda: a.reshape(-1, -1), "one unknown")
        raises(RuntimeError, lambda: a[:, 1:] + 1, "only contiguous")
        raises(RuntimeError, lambda: a[:, 1:].fill(1), "only contiguous")
        raises(NotImplementedError, lambda: a[:, 1:].get(), "contiguous")
        raises(NotImplementedError, lambda: a + flat, "Broadcasting")
        raises(AssertionError, lambda: a.__iadd__(flat))
        raises(IndexError, lambda: a[5])
        raises(IndexError, lambda: a[[0, 1]])
        raises(TypeError, lambda: hash(a))
        raises(ValueError, lambda: bool(a), "ambiguous")
        raises(TypeError, lambda: len(gpuarray.to_gpu(np.array(1, np.float32))))
        raises(TypeError, lambda: a + "1")
        raises(ValueError, lambda: a + gpuarray.to_gpu(np.asfortranarray(B)), "Fortran")
        raises(ValueError, lambda: a.set(np.asfortranarray(B)), "same order")
        raises(NotImplementedError, lambda: i / i, "astype")
        raises(NotImplementedError, lambda: i / 2, "astype") if (np.zeros(1, np.int32) + 2).dtype != float else None
        raises(NotImplementedError, lambda: 2 / i, "astype")
        raises(NotImplementedError, lambda: i ** 2, "astype")
        raises(NotImplementedError, lambda: i + gpuarray.to_gpu(np.float32([1, 2, 3])), "astype")
        raises(NotImplementedError, lambda: gpuarray.to_gpu(np.uint8([1])) - gpuarray.to_gpu(np.uint8([1])), "astype")
        raises(TypeError, lambda: i.__iadd__(0.5), "not an integer")
        raises(ValueError, lambda: gpuarray.to_gpu(A.astype(np.float16)) + 1, "unable to map dtype")
        raises(ValueError, lambda: gpuarray.zeros(3, np.complex64), "unable to map dtype")
        raises(AttributeError, lambda: ga.sum, "the twin")
        raises(IndexError, lambda: gpuarray.arange(dtype=np.float32), "out of range")
    """,
    ).clean()


_MISTAKES = [
    ("unwritten", "gpuarray.empty(3, np.float32) + 1  # <here>\ncuda.Context.synchronize()", "nothing was written"),
    ("unwritten", "gpuarray.empty(3, np.float32).get()  # <here>", "nothing was written"),
    ("freed", "x = gpuarray.to_gpu(A)\nx.gpudata.free()\ny = x + 1  # <here>", "was freed"),
    ("pageable", "gpuarray.to_gpu_async(A)  # <here>", "pageable"),
    ("pageable", "gpuarray.to_gpu(A).get_async()  # <here>", "pageable"),
    ("dtype", "x = gpuarray.to_gpu(A).view(np.int32) + 1  # <here>\nx.get()", "are float32"),
    ("race", "x = gpuarray.to_gpu(np.arange(8, dtype=np.float32))\na = x[1:]\na += x[:-1]  # <here>", "overlap"),
    (
        "race",
        "x, s = gpuarray.to_gpu(A), cuda.Stream(1)\nh = pinned(A)\n"
        "cuda.memcpy_htod_async(x.gpudata, h, s)\nx += 1  # <here>",
        "nothing that orders",
    ),
    (
        "freed",
        "h, s = cuda.pagelocked_empty((2, 3), np.float32), cuda.Stream()\nx = gpuarray.to_gpu(A)\n"
        "cuda.memcpy_dtoh_async(h, x.gpudata, s)  # <here>\ndel x\ns.synchronize()",
        "let go",
    ),
    ("execution", "x = gpuarray.to_gpu(np.float32([1e10])).astype(np.int32)  # <here>\nx.get()", "than int32 holds"),
    ("leak", "import builtins\nbuiltins.kept = gpuarray.to_gpu(A)  # <here>", "never freed"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "words"), _MISTAKES)
def test_mistakes_are_named(twin: Twin, kind: str, body: str, words: str) -> None:
    outcome = _run(twin, body).found(kind, words)
    assert set(outcome.kinds) <= {kind, "freed", "leak", "unwritten"}  # what follows from an error on the way


def test_an_array_is_not_an_address(twin: Twin) -> None:
    _run(
        twin,
        """
        context, x = load()[1], gpuarray.to_gpu(X)
        raises(TypeError, lambda: context.set_tensor_address("x", x))
        raises(TypeError, lambda: cuda.memcpy_dtoh(np.empty(6, np.float32), x))
    """,
    ).clean()


def test_the_device_takes_no_other_kernels(client: Client) -> None:
    at = client.cuda("mem_alloc", 64)
    client.cuda("memcpy_htod", at, bytes(64), "float32")
    other = client.cuda("mem_alloc", 64)
    for odd in (
        ("eval", (at, 4), "float32", [], []),
        ("fill", (at, 4), "object", [], [bytes(8)]),
        ("fill", (at, 4), "float32", [], [bytes(3)]),
        ("fill", (at, 4), "float32", [], []),
        ("fill", (at, 4), "float32", [(at, 4, "float32")], [bytes(4)]),
        ("divide", (at, 4), "int32", [(at, 4, "int32"), (at, 4, "int32")], []),
        ("copy", (at, 4), "float32", [(other, 3, "float32")], []),
        ("copy", (at, 4), "float32", [(other, 4, "O")], []),
        ("fill", (at, 17), "float32", [], [bytes(4)]),
        ("fill", (DEVICE_START - 512, 4), "float32", [], [bytes(4)]),
        ("fill", (at, 1 << 62), "float32", [], [bytes(4)]),
        ("fill", (at, -1), "float32", [], [bytes(4)]),
    ):
        assert client.error(do="cuda", name="elementwise", args=list(odd)), odd
    client.cuda("elementwise", "fill", (at, 4), "float32", [], [np.float32(2).tobytes()])
    assert client.cuda("memcpy_dtoh", at, 16, "float32") == np.full(4, 2, np.float32).tobytes()
    assert len(KERNELS) == 24
