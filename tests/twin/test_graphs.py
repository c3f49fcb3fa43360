"""Stream capture and graphs through both APIs: what CUDA allows gives the right numbers, and nothing is found."""

from __future__ import annotations

import pytest

from tests.twin.capture_cases import BUFFERS, CAPTURED, PRELUDE, RUNTIME
from tests.twin.harness import Twin


def test_a_captured_inference_is_replayed_on_new_inputs(twin: Twin) -> None:
    outcome = twin(
        CAPTURED
        + """
assert np.isnan(h_y).all()  # twin: a capture runs nothing, and memory that nothing wrote is NaN
for step in range(3):
    h_x[...] = X + step
    ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
    assert np.isnan(h_y).all()  # twin
    stream.synchronize()
    assert np.array_equal(h_y, np.maximum(X + step, 0)), h_y
ok(cudart.cudaGraphExecDestroy(graph_exec))
""",
        prelude=PRELUDE,
    ).clean()
    assert len(outcome.runs) == 4  # the one before the capture, and three launches
    assert [run["inputs"]["x"][0, 0] for run in outcome.runs] == [-1, -1, 0, 1]


def test_the_runtime_api_alone(twin: Twin) -> None:
    """No PyCUDA at all: the primary context comes by itself."""
    twin(
        RUNTIME
        + """
for step in range(2):
    ctypes.memmove(h_x, (X * (step + 1)).ctypes.data, 24)
    ok(cudart.cudaGraphLaunch(graph_exec, stream))
    ok(cudart.cudaStreamSynchronize(stream))
    y = np.empty_like(X)
    ctypes.memmove(y.ctypes.data, h_y, 24)
    assert np.array_equal(y, Y * (step + 1)), y
for end, what in (
    (cudart.cudaGraphExecDestroy, graph_exec), (cudart.cudaGraphDestroy, graph), (cudart.cudaFreeHost, h_x),
    (cudart.cudaFreeHost, h_y), (cudart.cudaFree, d_x), (cudart.cudaFree, d_y), (cudart.cudaStreamDestroy, stream),
):
    ok(end(what))
""",
        prelude="import ctypes\nimport numpy as np\nimport tensorrt as trt\nfrom helpers import *\n"
        "from capturing import *\n",
    ).clean()


def test_a_graph_keeps_the_shapes_of_its_capture(twin: Twin) -> None:
    outcome = twin(
        """
        engine, context = load("batch")
        d_x, d_y, stream = cuda.mem_alloc(64), cuda.mem_alloc(64), cuda.Stream()
        cuda.memset_d32(d_x, 0x3F800000, 16)     # ones
        cuda.memset_d32(d_y, 0x40000000, 16)     # twos
        context.set_tensor_address("x", int(d_x))
        context.set_tensor_address("y", int(d_y))
        context.set_input_shape("x", (1, 4))
        context.execute_async_v3(stream.handle)
        stream.synchronize()
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        context.execute_async_v3(stream.handle)
        graph = ok(cudart.cudaStreamEndCapture(stream.handle))
        graph_exec = ok(cudart.cudaGraphInstantiate(graph, 0))
        context.set_input_shape("x", (4, 4))     # the graph does not follow
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
        stream.synchronize()
        y = cuda.from_device(d_y, (4, 4), np.float32)
        return [float(row[0]) for row in y]
        """,
        prelude=PRELUDE,
    ).clean()
    assert outcome.value == [1, 2, 2, 2]


def test_a_new_shape_needs_a_new_capture_and_an_update_takes_it_over(twin: Twin) -> None:
    twin(
        """
        engine, context = load("batch")
        d_x, d_y, stream = cuda.mem_alloc(64), cuda.mem_alloc(64), cuda.Stream()
        context.set_tensor_address("x", int(d_x))
        context.set_tensor_address("y", int(d_y))
        h_x, h_y = pinned(np.full((4, 4), -1, np.float32)), cuda.pagelocked_zeros((4, 4), np.float32)
        def capture(batch):
            context.set_input_shape("x", (batch, 4))
            cuda.memcpy_htod_async(d_x, h_x[:batch], stream)
            context.execute_async_v3(stream.handle)
            stream.synchronize()
            ok(cudart.cudaStreamBeginCapture(stream.handle, THREAD_LOCAL))
            cuda.memcpy_htod_async(d_x, h_x[:batch], stream)
            context.execute_async_v3(stream.handle)
            cuda.memcpy_dtoh_async(h_y[:batch], d_y, stream)
            return ok(cudart.cudaStreamEndCapture(stream.handle))
        graph_exec = ok(cudart.cudaGraphInstantiateWithFlags(capture(2), 0))
        larger = capture(4)
        info = ok(cudart.cudaGraphExecUpdate(graph_exec, larger))
        assert info.result == cudart.cudaGraphExecUpdateResult.cudaGraphExecUpdateSuccess
        ok(cudart.cudaGraphDestroy(larger))
        h_x[...] = np.arange(16).reshape(4, 4)
        ok(cudart.cudaGraphUpload(graph_exec, stream.handle))
        ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
        stream.synchronize()
        assert np.array_equal(h_y, h_x), h_y
        """,
        prelude=PRELUDE,
    ).clean()


def test_an_update_with_other_nodes_is_refused_and_changes_nothing(twin: Twin) -> None:
    twin(
        CAPTURED
        + """
ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
cuda.memcpy_htod_async(d_x, h_x, stream)
other = ok(cudart.cudaStreamEndCapture(stream.handle))
with fails("cudaErrorGraphExecUpdateFailure"):
    ok(cudart.cudaGraphExecUpdate(graph_exec, other))
assert ok(cudart.cudaGraphGetNodes(graph))[1] == 3 and ok(cudart.cudaGraphGetNodes(other, 1))[1] == 1
h_x[...] = 2 * X
ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
stream.synchronize()
assert np.array_equal(h_y, 2 * Y)
""",
        prelude=PRELUDE,
    ).clean()


def test_a_capture_that_forks_and_joins(twin: Twin) -> None:
    twin(
        BUFFERS
        + """
context.execute_async_v3(stream.handle)
stream.synchronize()
copies = ok(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
fork, join = ok(cudart.cudaEventCreate()), ok(cudart.cudaEventCreateWithFlags(cudart.cudaEventDisableTiming))
d_z, h_z = cuda.mem_alloc(24), cuda.pagelocked_empty((2, 3), np.float32)
ok(cudart.cudaStreamBeginCapture(stream.handle, RELAXED))
cuda.memcpy_htod_async(d_x, h_x, stream)
ok(cudart.cudaEventRecord(fork, stream.handle))
ok(cudart.cudaStreamWaitEvent(copies, fork, 0))
capturing = cudart.cudaStreamCaptureStatus.cudaStreamCaptureStatusActive
assert ok(cudart.cudaStreamIsCapturing(copies)) == capturing
context.execute_async_v3(stream.handle)
ok(cudart.cudaMemcpyAsync(int(d_z), int(d_x), 24, ON_DEVICE, copies))     # two readers of d_x do not clash
ok(cudart.cudaMemcpyAsync(h_z.ctypes.data, int(d_z), 24, TO_HOST, copies))
ok(cudart.cudaEventRecord(join, copies))
ok(cudart.cudaStreamWaitEvent(stream.handle, join, 0))
cuda.memcpy_dtoh_async(h_y, d_y, stream)
graph = ok(cudart.cudaStreamEndCapture(stream.handle))
assert ok(cudart.cudaStreamIsCapturing(copies)) != capturing
graph_exec = ok(cudart.cudaGraphInstantiate(graph, 0))
ok(cudart.cudaGraphLaunch(graph_exec, copies))                            # on whichever stream
ok(cudart.cudaStreamSynchronize(copies))
assert np.array_equal(h_y, Y) and np.array_equal(h_z, X)
""",
        prelude=PRELUDE,
    ).clean()


def test_two_launches_of_one_graph_come_one_after_the_other(twin: Twin) -> None:
    """On two streams with nothing else that orders them; CUDA does it for launches of one executable graph."""
    outcome = twin(
        CAPTURED
        + """
other = cuda.Stream(1)
ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
ok(cudart.cudaGraphLaunch(graph_exec, other.handle))
other.synchronize()
assert np.array_equal(h_y, Y)
""",
        prelude=PRELUDE,
    ).clean()
    assert len(outcome.runs) == 3


def test_a_launch_is_ordered_with_the_work_around_it(twin: Twin) -> None:
    twin(
        CAPTURED
        + """
ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
d_copy, back = cuda.mem_alloc(24), cuda.pagelocked_empty((2, 3), np.float32)
cuda.memcpy_dtod_async(d_copy, d_y, 24, stream)
cuda.memcpy_dtoh_async(back, d_copy, stream)
done = cuda.Event().record(stream)
done.synchronize()
assert np.array_equal(back, Y) and np.array_equal(h_y, Y)
""",
        prelude=PRELUDE,
    ).clean()


def test_a_relaxed_capture_permits_an_allocation(twin: Twin) -> None:
    twin(
        BUFFERS
        + """
apart = ok(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
ok(cudart.cudaStreamBeginCapture(apart, RELAXED))
d = ok(cudart.cudaMalloc(24))
ok(cudart.cudaMemcpy(d, X.ctypes.data, 24, TO_DEVICE))
ok(cudart.cudaMemsetAsync(d, 0, 24, apart))
graph = ok(cudart.cudaStreamEndCapture(apart))
y = np.empty_like(X)
ok(cudart.cudaMemcpy(y, d, 24, TO_HOST))
assert np.array_equal(y, X)
ok(cudart.cudaFree(d))
""",
        prelude=PRELUDE,
    ).clean()


def test_a_thread_that_changes_its_mode_may_allocate_during_a_capture(twin: Twin) -> None:
    twin(
        BUFFERS
        + """
ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
assert ok(cudart.cudaThreadExchangeStreamCaptureMode(RELAXED)) == GLOBAL
d = cuda.mem_alloc(24)
assert ok(cudart.cudaThreadExchangeStreamCaptureMode(GLOBAL)) == RELAXED
ok(cudart.cudaStreamEndCapture(stream.handle))
""",
        prelude=PRELUDE,
    ).clean()


def test_another_thread_may_work_during_a_thread_local_capture(twin: Twin) -> None:
    twin(
        BUFFERS
        + """
import threading
failed = []
def work():
    mine = cuda.Device(0).make_context()
    try:
        if not np.array_equal(cuda.from_device_like(cuda.to_device(X), X), X): failed.append(1)
    finally:
        mine.pop()
apart = ok(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
ok(cudart.cudaStreamBeginCapture(apart, THREAD_LOCAL))
thread = threading.Thread(target=work)
thread.start()
thread.join()
ok(cudart.cudaStreamEndCapture(apart))
assert not failed
""",
        prelude=PRELUDE,
    ).clean()


def test_an_empty_graph(twin: Twin) -> None:
    twin(
        BUFFERS
        + """
ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
graph = ok(cudart.cudaStreamEndCapture(stream.handle))
assert ok(cudart.cudaGraphGetNodes(graph)) == ([], 0)
ok(cudart.cudaGraphLaunch(ok(cudart.cudaGraphInstantiate(graph, 0)), stream.handle))
""",
        prelude=PRELUDE,
    ).clean()


def test_a_host_buffer_that_one_graph_fills_and_sends_on(twin: Twin) -> None:
    """What a copy of the graph brings to pinned memory is what a later copy of the same graph sends."""
    twin(
        """
        d_a, d_b, stream = cuda.to_device(X), cuda.mem_alloc(24), cuda.Stream()
        h = cuda.pagelocked_empty((2, 3), np.float32)
        ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
        cuda.memcpy_dtoh_async(h, d_a, stream)
        cuda.memcpy_htod_async(d_b, h, stream)
        graph_exec = ok(cudart.cudaGraphInstantiate(ok(cudart.cudaStreamEndCapture(stream.handle)), 0))
        for _ in range(2):
            ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
            stream.synchronize()
            assert np.array_equal(cuda.from_device_like(d_b, X), X) and np.array_equal(h, X)
        """,
        prelude=PRELUDE,
    ).clean()


@pytest.mark.parametrize(
    "refused", ["cudaStreamSynchronize(stream.handle)", "cudaMalloc(24)", "cudaDeviceSynchronize()"]
)
def test_after_a_refused_call_the_capture_can_be_ended_and_begun_anew(twin: Twin, refused: str) -> None:
    outcome = twin(
        BUFFERS
        + f"""
ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
with fails("cudaErrorStreamCaptureUnsupported"):
    ok(cudart.{refused})  # <here>
with fails("cudaErrorStreamCaptureInvalidated"):
    ok(cudart.cudaMemsetAsync(int(d_x), 0, 24, stream.handle))
invalid = cudart.cudaStreamCaptureStatus.cudaStreamCaptureStatusInvalidated
assert ok(cudart.cudaStreamIsCapturing(stream.handle)) == invalid
with fails("cudaErrorStreamCaptureInvalidated"):
    ok(cudart.cudaStreamEndCapture(stream.handle))
ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
ok(cudart.cudaMemsetAsync(int(d_x), 0, 24, stream.handle))
ok(cudart.cudaStreamEndCapture(stream.handle))
""",
        prelude=PRELUDE,
    )
    assert not outcome.type, outcome.trace
    assert outcome.found("capture").kinds == ["capture"]  # the rest follows from it


def test_a_graph_may_end_while_its_last_launch_is_still_to_run(twin: Twin) -> None:
    outcome = twin(
        CAPTURED
        + """
ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
ok(cudart.cudaGraphExecDestroy(graph_exec))
ok(cudart.cudaGraphDestroy(graph))
stream.synchronize()
assert np.array_equal(h_y, Y)
""",
        prelude=PRELUDE,
    ).clean()
    assert len(outcome.runs) == 2


def test_two_executable_graphs_of_one_capture_have_buffers_in_common(twin: Twin) -> None:
    """They are two graphs: on two streams nothing orders them, unlike two launches of one."""
    outcome = twin(
        CAPTURED
        + """
second = ok(cudart.cudaGraphInstantiate(graph, 0))
apart = cuda.Stream(1)
ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))
ok(cudart.cudaGraphLaunch(second, stream.handle))
with fails("cudaErrorLaunchFailure"):
    ok(cudart.cudaGraphLaunch(graph_exec, apart.handle))  # <here>
stream.synchronize()
""",
        prelude=PRELUDE,
    )
    assert not outcome.type, outcome.trace
    outcome.found("race", "of a graph")
