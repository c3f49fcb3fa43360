"""The mistakes of `misuse_cases.py` in the forms of `cuda.bindings`, and the use of what went with its CUDA context."""

from __future__ import annotations

from tests.twin.capture_cases import PRELUDE
from tests.twin.misuse_cases import PLAIN, Case

_START = """
import ctypes
H2D, D2H = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
engine, context = load()
stream, d_x, d_y = ok(cudart.cudaStreamCreate()), ok(cudart.cudaMalloc(24)), ok(cudart.cudaMalloc(24))
def seen(host):
    return np.ctypeslib.as_array(ctypes.cast(host, ctypes.POINTER(ctypes.c_float)), (2, 3))
p_x, p_y = ok(cudart.cudaMallocHost(24)), ok(cudart.cudaMallocHost(24))
h_x, h_y = seen(p_x), seen(p_y)
h_x[...] = X
context.set_tensor_address("x", d_x)
context.set_tensor_address("y", d_y)
"""
_END = """
        cudart.cudaStreamSynchronize(stream)
        for memory in (d_x, d_y):
            cudart.cudaFree(memory)
"""


def _case(
    title: str, kind: str, words: tuple[str, ...], code: str, error: str = "", also: tuple[str, ...] = ()
) -> Case:
    return Case(f"cudart: {title}", kind, words, _START + code + _END, error, prelude=PRELUDE, also=also)


RUNTIME_CASES = [
    _case("an array in an asynchronous copy", "pageable", ("pinned",), """
        source = X                                              # wrong
        source = h_x                                            # right
        cudart.cudaMemcpyAsync(d_x, source, 24, H2D, stream)    # <here>
    """),
    _case("an array's address in an asynchronous copy", "pageable", ("pinned",), """
        source = X.ctypes.data                                  # wrong
        source = p_x                                            # right
        cudart.cudaMemcpyAsync(d_x, source, 24, H2D, stream)    # <here>
    """),
    _case("an array's buffer in an asynchronous copy", "pageable", ("pinned",), """
        cudart.cudaMemcpy(d_x, X, 24, H2D)
        target = np.empty((2, 3), np.float32).data              # wrong
        target = h_y                                            # right
        cudart.cudaMemcpyAsync(target, d_x, 24, D2H, stream)    # <here>
    """),
    _case("memory freed twice", "free", ("twice",), """
        d = ok(cudart.cudaMalloc(8))
        cudart.cudaFree(d)
        cudart.cudaFree(d)  # wrong <here>
    """),
    _case("memory freed while a run needs it", "freed", ("execute_async_v3", "still needs"), """
        cudart.cudaMemcpy(d_x, X, 24, H2D)
        d = ok(cudart.cudaMalloc(24))
        context.set_tensor_address("y", d)
        context.execute_async_v3(stream)
        cudart.cudaStreamSynchronize(stream)  # right
        cudart.cudaFree(d)  # <here>
    """),
    _case("a run on memory that was freed", "freed", ("'y'", "was freed"), """
        cudart.cudaMemcpy(d_x, X, 24, H2D)
        d = ok(cudart.cudaMalloc(24))
        context.set_tensor_address("y", d)
        cudart.cudaFree(d)                      # wrong
        context.execute_async_v3(stream)        # <here>
        cudart.cudaStreamSynchronize(stream)
        cudart.cudaFree(d)                      # right
    """, "LogicError", ("leak",)),
    _case("a host address for a tensor", "address", ("'x'", "not device memory"), """
        cudart.cudaMemcpy(d_x, X, 24, H2D)
        context.set_tensor_address("x", p_x)    # wrong
        context.execute_async_v3(stream)        # <here>
    """, "LogicError", ("alignment", "leak")),
    _case("a copy past the end", "too-small", ("needs 48",), """
        big, size = np.zeros(12, np.float32), 24
        size = 48  # wrong
        cudart.cudaMemcpy(d_x, big, size, H2D)  # <here>
    """),
    _case("more bytes than the array has", "too-small", ("the host buffer has 12",), """
        few, size = np.zeros(3, np.float32), 12
        size = 24  # wrong
        cudart.cudaMemcpy(d_x, few, size, H2D)  # <here>
    """),
    _case("a copy the wrong way", "address", ("device memory",), """
        cudart.cudaMemcpy(d_x, X, 24, H2D)
        kind = H2D  # wrong
        kind = D2H  # right
        cudart.cudaMemcpy(h_y.ctypes.data, d_x, 24, kind)  # <here>
    """),
    _case("two streams without an event", "race", ("event",), """
        other, event = ok(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking)), ok(cudart.cudaEventCreate())
        cudart.cudaMemcpyAsync(d_x, p_x, 24, H2D, stream)
        cudart.cudaEventRecord(event, stream)
        cudart.cudaStreamWaitEvent(other, event, 0)  # right
        try:
            context.execute_async_v3(other)  # <here>
        except cuda.LogicError:
            pass
        cudart.cudaStreamSynchronize(other)
    """),
    Case("cudart: a result that nothing waited for", "not-waited", ("memcpy_dtoh_async",), """
        stream, d = ok(cudart.cudaStreamCreate()), ok(cudart.cudaMalloc(24))
        h = ok(cudart.cudaMallocHost(24))
        cudart.cudaMemset(d, 0, 24)
        cudart.cudaMemcpyAsync(h, d, 24, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)  # <here>
        cudart.cudaStreamSynchronize(stream)  # right
        cudart.cudaFree(d)  # right
    """, prelude=PRELUDE, also=("leak",)),
    _case("pinned memory changed before the copy ran", "host-changed", ("was changed",), """
        cudart.cudaMemcpyAsync(d_x, p_x, 24, H2D, stream)
        cudart.cudaStreamSynchronize(stream)  # right
        h_x[...] = 0
        cudart.cudaStreamSynchronize(stream)  # <here>
    """),
    _case("pinned memory freed before the copy ran", "host-freed", ("gone",), """
        cudart.cudaMemcpyAsync(d_x, p_x, 24, H2D, stream)
        cudart.cudaStreamSynchronize(stream)  # right
        cudart.cudaFreeHost(p_x)
        cudart.cudaStreamSynchronize(stream)  # <here>
    """),
    _case("a stream that was destroyed", "stream", ("was destroyed",), """
        cudart.cudaMemcpy(d_x, X, 24, H2D)
        other = ok(cudart.cudaStreamCreate())
        cudart.cudaStreamDestroy(other)  # wrong
        try:
            context.execute_async_v3(other)  # <here>
        except cuda.LogicError:
            pass
        cudart.cudaStreamSynchronize(other)  # right
    """),
    _case("a stream destroyed twice", "stream", ("was destroyed",), """
        other = ok(cudart.cudaStreamCreate())
        cudart.cudaStreamDestroy(other)
        cudart.cudaStreamDestroy(other)  # wrong <here>
    """),
    _case("an event that was destroyed", "event", ("was destroyed",), """
        event = ok(cudart.cudaEventCreate())
        cudart.cudaEventDestroy(event)  # wrong
        cudart.cudaEventRecord(event, stream)  # <here>
    """),
    _case("memory that nothing wrote", "unwritten", ("NaN",), """
        cudart.cudaMemset(d_x, 0, 24)  # right
        cudart.cudaMemcpy(h_y, d_x, 24, D2H)  # <here>
    """),
    _case("a run without its input", "unwritten", ("'x'",), """
        cudart.cudaMemcpyAsync(d_x, p_x, 24, H2D, stream)  # right
        context.execute_async_v3(stream)  # <here>
    """),
    _case("an array of another dtype", "dtype", ("'x'", "float64"), """
        cudart.cudaMemcpy(d_x, X.astype(np.float64)[:1].copy(), 24, H2D)  # wrong
        cudart.cudaMemcpy(d_x, X, 24, H2D)  # right
        context.execute_async_v3(stream)  # <here>
    """),
    _case("memory never freed", "leak", ("1000 bytes",), """
        d = ok(cudart.cudaMalloc(1000))  # <here>
        cudart.cudaFree(d)  # right
    """),
    Case("a context left current", "context", ("still current when the program ends", "pop() or detach()"), """
        cuda.init()
        own = cuda.Device(0).make_context()  # <here>
        memory = cuda.to_device(X)
        memory.free()
        own.pop()  # right
    """, prelude=PLAIN),
    Case("a context pushed once more than popped", "context", ("still current",), """
        cuda.init()
        own = cuda.Device(0).retain_primary_context()
        own.push()  # <here>
        own.push()  # wrong
        own.pop()
    """, prelude=PLAIN),
    Case("a thread that leaves its context current", "context", ("still current",), """
        import threading
        cuda.init()
        def work():
            own = cuda.Device(0).make_context()  # <here>
            own.pop()  # right
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """, prelude=PLAIN),
    Case("a stream whose context has ended", "stream", ("its context has ended",), """
        cuda.init()
        own = cuda.Device(0).make_context()
        stream = cuda.Stream()
        own.detach()    # wrong
        stream.synchronize()  # <here>
        own.detach()    # right
    """, "LogicError", prelude=PLAIN),
    Case("an event whose context has ended", "event", ("its context has ended",), """
        cuda.init()
        main, own = cuda.Device(0).make_context(), cuda.Device(0).make_context()
        event = cuda.Event()
        own.detach()    # wrong
        try:
            event.synchronize()  # <here>
        finally:
            own.detach()    # right
            main.detach()
    """, "LogicError", prelude=PLAIN),
    Case("memory whose context has ended", "freed", ("where its context ended",), """
        cuda.init()
        main, own = cuda.Device(0).make_context(), cuda.Device(0).make_context()
        memory = cuda.to_device(X)
        own.detach()    # wrong
        try:
            cuda.memcpy_dtoh(np.empty((2, 3), np.float32), memory)  # <here>
        finally:
            memory.free()   # right
            own.detach()    # right
            main.detach()
    """, "LogicError", prelude=PLAIN),
    Case("an engine whose context has ended", "context", ("another CUDA context",), """
        cuda.init()
        main, own = cuda.Device(0).make_context(), cuda.Device(0).make_context()
        engine, context = load()
        own.detach()    # wrong
        try:
            context.execute_v2([cuda.to_device(X), cuda.mem_alloc(24)])  # <here>
        finally:
            del engine, context
            own.detach()    # right
            main.detach()
    """, "LogicError", prelude=PLAIN),
]  # fmt: skip
