"""The mistakes of `test_misuse.py`: programs that hold both arms, the wrong one and the right one.

A line that ends in ``# wrong`` is in the wrong arm only, one that ends in ``# right`` in the other.
``# <here>`` marks the line that the finding must name.
"""

from __future__ import annotations

from dataclasses import dataclass

_BUFFERS = """
engine, context = load({plan})
h_x, h_y = pinned(X), cuda.pagelocked_empty(X.shape, np.float32)
d_x, d_y = cuda.mem_alloc(24), cuda.mem_alloc(24)
stream = cuda.Stream()
context.set_tensor_address("x", int(d_x))
context.set_tensor_address("y", int(d_y))
"""
SET_UP = _BUFFERS.format(plan="")
APART = SET_UP.replace("cuda.Stream()", "cuda.Stream(1)")
DYNAMIC = _BUFFERS.format(plan='"batch"').replace("24)", "128)")
SMALL = DYNAMIC.replace("128)", "64)")
PLAIN = "import numpy as np\nimport tensorrt as trt\nimport pycuda.driver as cuda\nfrom helpers import *\n"


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        title: the test's name.
        kind: of the finding.
        words: that its message has.
        code: both arms.
        error: the exception that the candidate sees; "" for none.
        says: what the exception's message has, or what is printed.
        prelude: instead of the usual imports.
        also: other kinds that come of the same mistake.
    """

    title: str
    kind: str
    words: tuple[str, ...]
    code: str
    error: str = ""
    says: str = ""
    prelude: str = ""
    also: tuple[str, ...] = ()


CASES = [
    Case("no address", "no-address", ("'y'", "set_tensor_address"), """
        engine, context = load()
        d_x, d_y, stream = cuda.to_device(X), cuda.mem_alloc(24), cuda.Stream()
        context.set_tensor_address("x", int(d_x))
        context.set_tensor_address("y", int(d_y))  # right
        done = context.execute_async_v3(stream.handle)  # <here>
        assert done is False                       # wrong
        stream.synchronize()
    """, says="tensor 'y' has no address"),
    Case("null address", "no-address", ("'x'",), SET_UP + """
        context.set_tensor_address("x", 0)  # wrong
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """),
    Case("freed address", "freed", ("'x'", "was freed at answer.py"), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        d_x.free()                               # wrong
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError", "freed"),
    Case("address of memory that was garbage-collected", "freed", ("'x'",), """
        engine, context = load()
        d_y, stream = cuda.mem_alloc(24), cuda.Stream()
        context.set_tensor_address("x", int(cuda.to_device(X)))  # wrong
        d_x = cuda.to_device(X)                                  # right
        context.set_tensor_address("x", int(d_x))                # right
        context.set_tensor_address("y", int(d_y))
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("host address", "address", ("'x'", "not device memory"), """
        engine, context = load()
        d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
        host = pinned(X)
        where = int(d_x)          # right
        where = host.ctypes.data // 256 * 256  # wrong
        context.execute_v2([where, d_y])  # <here>
    """, "LogicError"),
    Case("address too small", "too-small", ("'y'", "needs 24 bytes", "only 20"), """
        engine, context = load()
        d_x = cuda.to_device(X)
        d_y = cuda.mem_alloc(20)  # wrong
        d_y = cuda.mem_alloc(24)  # right
        context.execute_v2([d_x, d_y])  # <here>
    """, "LogicError"),
    Case("memory of the smallest batch for the largest", "too-small", ("'x'", "(4, 4)"), SMALL + """
        size = 64    # right
        size = 16    # wrong
        d_x = cuda.mem_alloc(size)
        context.set_tensor_address("x", int(d_x))
        context.set_input_shape("x", (4, 4))
        cuda.memset_d8(d_x, 0, size)
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("copy past the end", "too-small", ("memcpy_htod", "needs 48"), """
        d = cuda.mem_alloc(24)  # wrong
        d = cuda.mem_alloc(48)  # right
        cuda.memcpy_htod(d, X.astype(np.float64))  # <here>
    """, "LogicError"),
    Case("address that is not aligned", "alignment", ("'x'", "256"), """
        engine, context = load()
        arena, d_y = cuda.mem_alloc(1024), cuda.mem_alloc(24)
        offset = 24    # wrong
        offset = 256   # right
        cuda.memcpy_htod(int(arena) + offset, X)
        context.set_tensor_address("x", int(arena) + offset)  # <here>
    """),
    Case("float64 for a float32 tensor", "dtype", ("'x'", "float32", "float64"), SET_UP + """
        x = X.astype(np.float64)[:1]     # wrong
        x = X                            # right
        cuda.memcpy_htod(d_x, x)
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """),
    Case("the second half of another dtype", "dtype", ("'x'", "int32"), SET_UP + """
        cuda.memcpy_htod(d_x, X[0])
        cuda.memcpy_htod(int(d_x) + 12, X[1].astype(np.int32))  # wrong
        cuda.memcpy_htod(int(d_x) + 12, X[1])                   # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """),
    Case("big-endian numbers", "dtype", ("byte-swapped",), SET_UP + """
        cuda.memcpy_htod(d_x, X.astype(">f4"))  # wrong
        cuda.memcpy_htod(d_x, X)                # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """),
    Case("an output read as another dtype", "dtype", ("float32", "int32"), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)
        y = np.empty(6, np.int32)    # wrong
        y = np.empty(6, np.float32)  # right
        cuda.memcpy_dtoh(y, d_y)  # <here>
    """),
    Case("shape never set", "shape", ("'x'", "never set"), DYNAMIC + """
        cuda.memset_d8(d_x, 0, 128)
        context.set_input_shape("x", (2, 4))     # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, says="never set"),
    Case("shape outside the profile", "shape", ("'x'", "(5, 4)", "(1, 4) to (4, 4)"), DYNAMIC + """
        cuda.memset_d8(d_x, 0, 128)
        context.set_input_shape("x", (5, 4))     # wrong
        context.set_input_shape("x", (4, 4))     # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, says="outside the profile"),
    Case("shape lost with a new profile", "shape", ("'x'", "never set"), DYNAMIC + """
        cuda.memset_d8(d_x, 0, 128)
        context.set_input_shape("x", (2, 4))
        context.set_optimization_profile_async(1, stream.handle)
        context.set_input_shape("x", (2, 4))     # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """),
    Case("host buffer never waited for", "not-waited", ("memcpy_dtoh_async", "synchronize"), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)
        cuda.memcpy_dtoh_async(h_y, d_y, stream)  # <here>
        stream.synchronize()      # right
        assert np.isnan(h_y).all()  # wrong, twin
        assert np.array_equal(h_y, Y)  # right
        import builtins; builtins.kept = (h_y, stream, context, d_x, d_y)  # wrong
    """, also=("leak",)),
    Case("result of a function that waits for nothing", "freed", ("were let go", "memcpy_dtoh_async"), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)
        cuda.memcpy_dtoh_async(h_y, d_y, stream)  # <here>
        stream.synchronize()      # right
        import builtins; builtins.kept = h_y
    """),
    Case("device buffer freed before its stream was synchronised", "freed", ("24 bytes", "still needs"), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)
        stream.synchronize()  # right
        d_y.free()  # <here>
    """),
    Case("device buffer reused before its stream was synchronised", "race", ("execute_async_v3",), APART + """
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)
        stream.synchronize()  # right
        cuda.memcpy_htod(d_x, X)  # <here>
        stream.synchronize()
    """, "LogicError", also=("freed",)),
    Case("a synchronous copy does not wait for a non-blocking stream", "race", ("memcpy_dtoh",), APART + """
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)
        stream.synchronize()   # right
        cuda.memcpy_dtoh(h_y, d_y)  # <here>
    """, "LogicError", also=("freed", "not-waited")),
    Case("a memset is not waited for by a non-blocking stream", "race", ("memset",), APART + """
        cuda.memset_d8(d_x, 0, 24)
        cuda.Context.synchronize()  # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("two streams without an event", "race", ("execute_async_v3", "memcpy_htod_async", "event"), SET_UP + """
        copies = cuda.Stream()
        cuda.memcpy_htod_async(d_x, h_x, copies)
        stream.wait_for_event(cuda.Event().record(copies))  # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
        copies.synchronize()
    """, "LogicError", also=("not-waited", "freed", "host-freed")),
    Case("an event that is waited for before it is recorded", "race", ("memcpy_htod_async",), SET_UP + """
        copies, copied = cuda.Stream(), cuda.Event()
        stream.wait_for_event(copied)   # wrong
        cuda.memcpy_htod_async(d_x, h_x, copies)
        copied.record(copies)
        stream.wait_for_event(copied)   # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError", also=("not-waited", "freed", "host-freed")),
    Case("one context on two streams", "race", ("activation memory",), SET_UP + """
        other = cuda.Stream()
        cuda.memcpy_htod(d_x, X)
        a, b = cuda.to_device(X), cuda.mem_alloc(24)
        context.execute_async_v3(stream.handle)
        first = context                               # right
        context = engine.create_execution_context()  # right
        context.set_tensor_address("x", int(a))
        context.set_tensor_address("y", int(b))
        context.execute_async_v3(other.handle)  # <here>
        stream.synchronize()
        other.synchronize()
    """, "LogicError", also=("freed",)),
    Case("one pinned buffer for two streams", "race", ("pinned",), """
        a, b = cuda.to_device(X), cuda.to_device(Y)
        one, two = cuda.Stream(), cuda.Stream()
        host, second = cuda.pagelocked_empty((2, 3), np.float32), cuda.pagelocked_empty((2, 3), np.float32)
        second = host   # wrong
        cuda.memcpy_dtoh_async(host, a, one)
        cuda.memcpy_dtoh_async(second, b, two)  # <here>
        one.synchronize()
        two.synchronize()
    """, "LogicError", also=("not-waited", "freed", "host-freed")),
    Case("input and output in one buffer", "race", ("'x'", "'y'", "share"), SET_UP + """
        context.set_tensor_address("y", int(d_x))  # wrong
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("pageable memory to the device", "pageable", ("memcpy_htod_async", "pagelocked_empty"), SET_UP + """
        x = X     # wrong
        x = h_x   # right
        cuda.memcpy_htod_async(d_x, x, stream)  # <here>
        stream.synchronize()
    """, "LogicError", "pageable"),
    Case("pageable memory from the device", "pageable", ("memcpy_dtoh_async",), SET_UP + """
        cuda.memcpy_htod(d_y, Y)
        h_y = np.empty_like(X)   # wrong
        cuda.memcpy_dtoh_async(h_y, d_y, stream)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("pinned memory that was given back", "pageable", ("no longer pinned",), SET_UP + """
        h_x.base.free()   # wrong
        cuda.memcpy_htod_async(d_x, h_x, stream)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("host buffer changed before the copy ran", "host-changed", ("answer.py", "changed"), SET_UP + """
        cuda.memcpy_htod_async(d_x, h_x, stream)
        stream.synchronize()   # right
        h_x[...] = 0
        stream.synchronize()  # <here>
    """, "LogicError"),
    Case("host buffer garbage-collected before the copy ran", "host-freed", ("keep the array",), SET_UP + """
        cuda.memcpy_htod_async(d_x, h_x, stream)
        del h_x               # wrong
        stream.synchronize()  # <here>
    """, "LogicError"),
    Case("host buffer of a result garbage-collected", "host-freed", ("answer.py",), SET_UP + """
        cuda.memcpy_htod(d_y, Y)
        cuda.memcpy_dtoh_async(h_y, d_y, stream)
        del h_y               # wrong
        stream.synchronize()  # <here>
    """, "LogicError"),
    Case("no context", "context", ("cuMemAlloc", "pycuda.autoinit"), """
        cuda.init()
        context = cuda.Device(0).make_context()  # right
        d = cuda.mem_alloc(24)  # <here>
        context.pop()                             # right
    """, "LogicError", "invalid device context", PLAIN),
    Case("no init", "context", ("init()",), """
        cuda.init()   # right
        context = cuda.Device(0).make_context()  # <here>
        context.pop()
    """, "LogicError", "initialization error", PLAIN),
    Case("a thread without a context", "context", ("in this thread",), """
        import threading
        def work():
            context = cuda.Device(0).make_context()  # right
            d = cuda.to_device(X)  # <here>
            context.pop()                             # right
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """),
    Case("an engine of another context", "context", ("another CUDA context",), """
        import pycuda.autoinit      # right
        engine, context = load()
        import pycuda.autoinit
        d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
        context.execute_v2([d_x, d_y])  # <here>
    """, "LogicError", "invalid resource handle", PLAIN),
    Case("a context popped twice", "context", ("Context.pop",), """
        cuda.init()
        context = cuda.Device(0).make_context()
        context.pop()
        context.pop()  # wrong <here>
    """, "LogicError", prelude=PLAIN),
    Case("output never written", "unwritten", ("24 bytes", "NaN"), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        context.execute_v2([d_x, d_y])  # right
        cuda.memcpy_dtoh(h_y, d_y)  # <here>
        assert np.isnan(h_y).all()  # wrong, twin
    """),
    Case("input never written", "unwritten", ("'x'",), SET_UP + """
        cuda.memcpy_htod(d_x, X)  # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """),
    Case("input half written", "unwritten", ("'x'", "(2, 3)"), SET_UP + """
        cuda.memcpy_htod(d_x, X[:1])  # wrong
        cuda.memcpy_htod(d_x, X)      # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """),
    Case("memory never freed", "leak", ("1000 bytes", "free()"), """
        import builtins
        builtins.kept = cuda.mem_alloc(1000)  # <here>
        builtins.kept.free()                  # right
    """),
    Case("double free", "free", ("24 bytes", "twice", "answer.py"), """
        d = cuda.to_device(X)
        d.free()
        d.free()  # wrong <here>
    """, "LogicError", "invalid argument"),
    Case("free in spite of use", "freed", ("memcpy_htod",), """
        d = cuda.mem_alloc(24)
        d.free()                 # wrong
        cuda.memcpy_htod(d, X)  # <here>
    """, "LogicError"),
    Case("an allocation of nothing", "alloc", ("at least 1 byte",), """
        size = 0   # wrong
        size = 1   # right
        cuda.mem_alloc(size)  # <here>
    """, "LogicError", "invalid argument"),
    Case("a stream that was destroyed", "stream", ("was destroyed",), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        handle = stream.handle
        del stream   # wrong
        context.execute_async_v3(handle)  # <here>
        stream.synchronize()
    """, "LogicError", "invalid resource handle"),
    Case("a stream that never was", "stream", ("0x4d2", "is not a stream"), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        handle = 1234            # wrong
        handle = stream.handle   # right
        context.execute_async_v3(handle)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("a wrong tensor name", "tensor-name", ("'input'", "x, y"), SET_UP + """
        name = "input"  # wrong
        name = "x"      # right
        context.set_tensor_address(name, int(d_x))  # <here>
    """, says="no tensor is named 'input'"),
    Case("a wrong name for a shape", "tensor-name", ("'input'",), DYNAMIC + """
        name = "input"  # wrong
        name = "x"      # right
        context.set_input_shape(name, (2, 4))  # <here>
    """),
    Case("too few bindings", "bindings", ("1 bindings for 2 tensors", "x, y"), """
        engine, context = load()
        d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
        done = context.execute_v2([d_x])       # wrong <here>
        assert done is False                   # wrong
        done = context.execute_v2([d_x, d_y])  # right
    """),
    Case("an execution context let go while it works", "freed", ("execution context",), SET_UP + """
        cuda.memcpy_htod(d_x, X)
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()  # right
        del context
        stream.synchronize()
    """),
    Case("the time of an event that was not waited for", "event", ("not waited for",), """
        start, end, stream = cuda.Event(), cuda.Event(), cuda.Stream()
        start.record(stream)
        end.record(stream)
        end.synchronize()        # right
        end.time_since(start)  # <here>
    """, "LogicError", "not ready"),
    Case("the time of an event that was never recorded", "event", ("never recorded",), """
        start, end, stream = cuda.Event(), cuda.Event(), cuda.Stream()
        start.record(stream)  # right
        end.record(stream)
        end.synchronize()
        end.time_since(start)  # <here>
    """, "LogicError"),
]  # fmt: skip
