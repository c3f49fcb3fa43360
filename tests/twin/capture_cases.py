"""The mistakes with stream capture and graphs, for `test_misuse.py`: see `misuse_cases.py`."""

from __future__ import annotations

from tests.twin.misuse_cases import DYNAMIC, SET_UP, Case

PRELUDE = """\
import numpy as np
import tensorrt as trt
import pycuda.driver as cuda
import pycuda.autoinit
from helpers import *
from capturing import *
"""
BUFFERS = SET_UP + "cuda.memcpy_htod(d_x, X)\n"
_WARM = "context.execute_async_v3(stream.handle)\nstream.synchronize()\n"
_BEGIN = "ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))\n"
#: A whole inference in ``graph`` and ``graph_exec``; nothing of it has run.
CAPTURED = (
    BUFFERS
    + _WARM
    + _BEGIN
    + """cuda.memcpy_htod_async(d_x, h_x, stream)
context.execute_async_v3(stream.handle)
cuda.memcpy_dtoh_async(h_y, d_y, stream)
graph = ok(cudart.cudaStreamEndCapture(stream.handle))
graph_exec = ok(cudart.cudaGraphInstantiate(graph, 0))
"""
)
#: The same without PyCUDA: every handle and address is the runtime API's.
RUNTIME = """
ok(cudart.cudaFree(0))
engine, context = load()
stream = ok(cudart.cudaStreamCreate())
h_x, h_y = ok(cudart.cudaMallocHost(24)), ok(cudart.cudaHostAlloc(24, cudart.cudaHostAllocDefault))
d_x, d_y = ok(cudart.cudaMalloc(24)), ok(cudart.cudaMalloc(24))
context.set_tensor_address("x", d_x)
context.set_tensor_address("y", d_y)
ok(cudart.cudaMemcpy(d_x, X.ctypes.data, X.nbytes, TO_DEVICE))
context.execute_async_v3(stream)
ok(cudart.cudaStreamSynchronize(stream))
ok(cudart.cudaStreamBeginCapture(stream, GLOBAL))
ok(cudart.cudaMemcpyAsync(d_x, h_x, 24, TO_DEVICE, stream))
context.execute_async_v3(stream)
ok(cudart.cudaMemcpyAsync(h_y, d_y, 24, TO_HOST, stream))
graph = ok(cudart.cudaStreamEndCapture(stream))
graph_exec = ok(cudart.cudaGraphInstantiate(graph, 0))
"""
_FORK = """
other, fork, join = cuda.Stream(), cuda.Event(), cuda.Event()
d_z = cuda.mem_alloc(24)
"""
_NOT_PERMITTED = "cudaErrorStreamCaptureUnsupported"


def _case(title: str, kind: str, words: tuple[str, ...], code: str, *rest: str, also: tuple[str, ...] = ()) -> Case:
    return Case(title, kind, words, code, *rest, prelude=PRELUDE, also=also)


CAPTURE_CASES = [
    _case("a wait inside a capture", "capture", ("a wait for a stream", "answer.py", "after the launch"),
        BUFFERS + _WARM + _BEGIN + """
        context.execute_async_v3(stream.handle)
        ok(cudart.cudaStreamSynchronize(stream.handle))  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "CudaError", _NOT_PERMITTED),
    _case("PyCUDA's wait inside a capture", "capture", ("a wait for a stream",), BUFFERS + _WARM + _BEGIN + """
        context.execute_async_v3(stream.handle)
        stream.synchronize()  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError", "operation not permitted when stream is capturing"),
    _case("a query inside a capture", "capture", ("a query of a stream",), BUFFERS + _BEGIN + """
        ok(cudart.cudaStreamQuery(stream.handle))  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "CudaError", _NOT_PERMITTED),
    _case("a wait for another stream inside a capture", "capture", ("a wait for a stream", "before the capture"),
        BUFFERS + """
        mode = GLOBAL   # wrong
        mode = RELAXED  # right
        other = cuda.Stream()
        ok(cudart.cudaStreamBeginCapture(stream.handle, mode))
        other.synchronize()  # <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError", "not permitted when stream is capturing"),
    _case("a wait for an older event inside a capture", "capture", ("a wait for an event", "before the capture"),
        BUFFERS + """
        event, other = cuda.Event(), cuda.Stream()
        event.record(other)
        event.synchronize()  # right
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        event.synchronize()  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError", "not permitted when stream is capturing"),
    _case("a wait for everything inside a capture", "capture", ("all streams",), BUFFERS + """
        mode = RELAXED
        ok(cudart.cudaStreamBeginCapture(stream.handle, mode))
        cuda.Context.synchronize()  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError"),
    _case("an allocation inside a capture", "capture", ("an allocation", "before the capture"), BUFFERS + """
        d = ok(cudart.cudaMalloc(24))  # right
        ok(cudart.cudaStreamBeginCapture(stream.handle, THREAD_LOCAL))
        d = ok(cudart.cudaMalloc(24))  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
        ok(cudart.cudaFree(d))
    """, "CudaError", _NOT_PERMITTED),
    _case("PyCUDA's allocation inside a capture", "capture", ("an allocation",), BUFFERS + """
        d = cuda.mem_alloc(24)  # right
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        d = cuda.mem_alloc(24)  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError"),
    _case("pinned memory inside a capture", "capture", ("pinned memory",), BUFFERS + _BEGIN + """
        h_z = cuda.pagelocked_empty(3, np.float32)  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
        h_z = cuda.pagelocked_empty(3, np.float32)  # right
    """, "LogicError"),
    _case("memory let go inside a capture", "capture", ("the freeing of memory",), BUFFERS + """
        d = cuda.mem_alloc(24)
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        del d  # wrong <here>
        assert cudart.cudaStreamEndCapture(stream.handle)[1] is None  # wrong
        ok(cudart.cudaStreamEndCapture(stream.handle))                # right
    """),
    _case("another thread's allocation during a global capture", "capture", ("an allocation",), BUFFERS + """
        import threading
        mode = GLOBAL        # wrong
        mode = THREAD_LOCAL  # right
        ok(cudart.cudaStreamBeginCapture(stream.handle, mode))
        def work():
            error, d = cudart.cudaMalloc(24)  # <here>
            if d: ok(cudart.cudaFree(d))
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "CudaError", "cudaErrorStreamCaptureInvalidated"),
    _case("a synchronous copy inside a capture", "capture", ("memcpy_htod", "default stream"), BUFFERS + """
        ok(cudart.cudaStreamBeginCapture(stream.handle, RELAXED))
        ok(cudart.cudaMemcpy(int(d_x), X, X.nbytes, TO_DEVICE))  # wrong <here>
        cuda.memcpy_htod_async(d_x, h_x, stream)                 # right
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "CudaError", "cudaErrorStreamCaptureImplicit"),
    _case("the default stream beside a capture", "capture", ("memset", "default stream"), BUFFERS + _BEGIN + """
        ok(cudart.cudaMemset(int(d_y), 0, 24))                        # wrong <here>
        ok(cudart.cudaMemsetAsync(int(d_y), 0, 24, stream.handle))    # right
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "CudaError", "cudaErrorStreamCaptureImplicit"),
    _case("execute_v2 inside a capture", "capture", ("execute_v2", "default stream"), BUFFERS + _WARM + _BEGIN + """
        context.execute_v2([d_x, d_y])           # wrong <here>
        context.execute_async_v3(stream.handle)  # right
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError"),
    _case("an execution context made inside a capture", "capture", ("making of an execution context",), BUFFERS + """
        second = engine.create_execution_context()  # right
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        second = engine.create_execution_context()  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError"),
    _case("a capture of the default stream", "capture", ("default stream cannot be captured",), BUFFERS + """
        handle = 0              # wrong
        handle = stream.handle  # right
        ok(cudart.cudaStreamBeginCapture(handle, GLOBAL))  # <here>
        ok(cudart.cudaStreamEndCapture(handle))
    """, "CudaError", _NOT_PERMITTED),
    _case("a capture begun twice", "capture", ("capturing already",), BUFFERS + _BEGIN + """
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "CudaError", "cudaErrorIllegalState"),
    _case("an end without a begin", "capture", ("not capturing",), BUFFERS + """
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))  # right
        ok(cudart.cudaStreamEndCapture(stream.handle))  # <here>
    """, "CudaError", "cudaErrorIllegalState"),
    _case("a capture that never ends", "capture", ("never ended",), BUFFERS + """
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))  # <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))            # right
        import builtins; builtins.kept = stream, d_x, d_y         # wrong
    """, also=("leak",)),
    _case("a capture ended on another stream", "capture", ("began on another stream",), BUFFERS + _FORK + _BEGIN + """
        fork.record(stream)
        other.wait_for_event(fork)
        join.record(other)
        stream.wait_for_event(join)
        end = other    # wrong
        end = stream   # right
        ok(cudart.cudaStreamEndCapture(end.handle))  # <here>
    """, "CudaError", "cudaErrorStreamCaptureUnmatched"),
    _case("a capture ended in another thread", "capture", ("in the thread that began it",), BUFFERS + """
        import threading
        mode = THREAD_LOCAL  # wrong
        mode = RELAXED       # right
        ok(cudart.cudaStreamBeginCapture(stream.handle, mode))
        errors = []
        def work():
            errors.append(cudart.cudaStreamEndCapture(stream.handle)[0])  # <here>
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert errors == [cudart.cudaError_t.cudaErrorStreamCaptureWrongThread]  # wrong
        assert errors == [cudart.cudaError_t.cudaSuccess]                        # right
    """),
    _case("a branch that never joins", "capture", ("memset_async", "not joined"), BUFFERS + _FORK + _BEGIN + """
        fork.record(stream)
        other.wait_for_event(fork)
        cuda.memset_d8_async(d_z, 0, 24, other)
        join.record(other)            # right
        stream.wait_for_event(join)   # right
        ok(cudart.cudaStreamEndCapture(stream.handle))  # <here>
    """, "CudaError", "cudaErrorStreamCaptureUnjoined"),
    _case("two branches on the same bytes", "race", ("memset_async", "memcpy_htod_async"),
        BUFFERS + _FORK + _BEGIN + """
        fork.record(stream)           # wrong
        cuda.memcpy_htod_async(d_z, h_x, stream)
        fork.record(stream)           # right
        other.wait_for_event(fork)
        cuda.memset_d8_async(d_z, 0, 24, other)  # <here>
        join.record(other)
        stream.wait_for_event(join)
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError", also=("capture",)),
    _case("a capture that waits for work outside", "capture", ("recorded outside",), BUFFERS + _FORK + """
        fork.record(other)
        stream.wait_for_event(fork)  # right
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        stream.wait_for_event(fork)  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError", "uncaptured work in another stream"),
    _case("two captures that meet", "capture", ("another capture's",), BUFFERS + _FORK + _BEGIN + """
        fork.record(stream)
        ok(cudart.cudaStreamBeginCapture(other.handle, GLOBAL))  # wrong
        other.wait_for_event(fork)  # <here>
        join.record(other)
        stream.wait_for_event(join)
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError", "merge of separate capture sequences", also=()),
    _case("a wait for a captured event", "capture", ("the event was last recorded in it",),
        CAPTURED + _FORK + _BEGIN + """
        fork.record(stream)
        fork.synchronize()  # wrong <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """, "LogicError", "last recorded in a capturing stream"),
    _case("the time of events of a capture", "capture", ("the time of an event",), BUFFERS + _FORK + _BEGIN + """
        fork.record(stream)
        join.record(stream)
        ok(cudart.cudaStreamEndCapture(stream.handle))
        fork.record(stream)  # right
        join.record(stream)  # right
        join.synchronize()   # right
        join.time_since(fork)  # <here>
    """, "LogicError"),
    _case("a first run inside a capture", "capture", ("first run", "execute_async_v3 once"), BUFFERS + """
        context.execute_async_v3(stream.handle)  # right
        stream.synchronize()                     # right
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        context.execute_async_v3(stream.handle)  # <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """),
    _case("a new shape's first run inside a capture", "capture", ("first run", "input shapes"), DYNAMIC + """
        cuda.memset_d8(d_x, 0, 128)
        context.set_input_shape("x", (4, 4))
        context.execute_async_v3(stream.handle)
        context.set_input_shape("x", (2, 4))
        context.execute_async_v3(stream.handle)  # right
        stream.synchronize()
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        context.execute_async_v3(stream.handle)  # <here>
        ok(cudart.cudaStreamEndCapture(stream.handle))
    """),
    _case("a graph whose buffer moved", "freed", ("buffers moved", "execute_async_v3", "24 bytes", "capture again"),
        CAPTURED + """
        d_y.free()               # wrong
        d_y = cuda.mem_alloc(24)  # wrong
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))  # <here>
        stream.synchronize()
    """, "CudaError", "cudaErrorIllegalAddress"),
    _case("a graph whose pinned buffer went", "host-freed", ("pinned buffer", "as long as the graph"), CAPTURED + """
        del h_y   # wrong
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))  # <here>
        stream.synchronize()
    """, "CudaError"),
    _case("a graph whose execution context went", "freed", ("execution context",), CAPTURED + """
        del context                    # wrong
        cuda.Context.synchronize()
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))  # <here>
        stream.synchronize()
    """, "CudaError"),
    _case("a graph's input changed before it ran", "host-changed", ("answer.py", "changed"), CAPTURED + """
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
        stream.synchronize()  # right
        h_x[...] = 0
        stream.synchronize()  # <here>
    """, "LogicError"),
    _case("a graph's result that nothing waited for", "not-waited", ("memcpy_dtoh_async of a graph",), CAPTURED + """
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))  # <here>
        assert np.isnan(h_y).all()  # twin
        stream.synchronize()          # right
        import builtins; builtins.kept = (h_x, h_y, stream, context, d_x, d_y)  # wrong
    """, also=("leak",)),
    _case("a graph beside work on its buffers", "race", ("of a graph", "memcpy_htod_async"), CAPTURED + """
        apart = cuda.Stream(1)
        cuda.memcpy_htod_async(d_x, h_x, apart)
        apart.synchronize()  # right
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))  # <here>
        stream.synchronize()
    """, "CudaError", also=("freed", "not-waited", "host-freed")),
    _case("a graph used after its end", "graph", ("after it was destroyed at answer.py",), CAPTURED + """
        ok(cudart.cudaGraphExecDestroy(graph_exec))  # wrong
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))  # <here>
        stream.synchronize()
    """, "CudaError", "cudaErrorInvalidValue"),
    _case("a graph ended twice", "graph", ("destroyed",), CAPTURED + """
        ok(cudart.cudaGraphDestroy(graph))
        ok(cudart.cudaGraphDestroy(graph))  # wrong <here>
    """, "CudaError"),
    _case("pageable memory in the runtime's asynchronous copy", "pageable", ("cudaMemcpyAsync", "cudaMallocHost"),
        BUFFERS + """
        where = X.ctypes.data    # wrong
        where = h_x.ctypes.data  # right
        ok(cudart.cudaMemcpyAsync(int(d_x), where, 24, TO_DEVICE, stream.handle))  # <here>
        stream.synchronize()
    """, "CudaError", "cudaErrorInvalidValue"),
    _case("a copy whose kind says the other way", "address", ("kind", "host memory"), BUFFERS + """
        ok(cudart.cudaMemcpy(int(d_x), h_x.ctypes.data, 24, TO_HOST))    # wrong <here>
        ok(cudart.cudaMemcpy(int(d_x), h_x.ctypes.data, 24, TO_DEVICE))  # right
    """, "CudaError", "cudaErrorInvalidMemcpyDirection"),
    _case("a host buffer smaller than the copy", "too-small", ("24 bytes", "12"), BUFFERS + """
        y = np.empty(3, np.float32)  # wrong
        y = np.empty(6, np.float32)  # right
        ok(cudart.cudaMemcpy(y, int(d_x), 24, TO_HOST))  # <here>
    """, "CudaError"),
    _case("pinned memory freed while a copy needs it", "host-freed", ("keep the array",), BUFFERS + """
        host = ok(cudart.cudaMallocHost(24))
        ok(cudart.cudaMemcpy(int(d_y), Y, 24, TO_DEVICE))
        ok(cudart.cudaMemcpyAsync(host, int(d_y), 24, TO_HOST, stream.handle))
        ok(cudart.cudaStreamSynchronize(stream.handle))  # right
        ok(cudart.cudaFreeHost(host))
        ok(cudart.cudaStreamSynchronize(stream.handle))  # <here>
    """, "CudaError"),
    _case("pinned memory freed twice", "free", ("cudaFreeHost",), BUFFERS + """
        host = ok(cudart.cudaMallocHost(24))
        ok(cudart.cudaFreeHost(host))
        ok(cudart.cudaFreeHost(host))  # wrong <here>
    """, "CudaError"),
    _case("the runtime's memory never freed", "leak", ("1000 bytes",), BUFFERS + """
        d = ok(cudart.cudaMalloc(1000))  # <here>
        ok(cudart.cudaFree(d))           # right
    """),
]  # fmt: skip
