"""A candidate in the sandbox captures and replays a graph, and the grader sees what its device did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from candidates import start

_ANSWER = '''
import numpy as np
import pycuda.autoinit
import pycuda.driver as cuda
import tensorrt as trt
from cuda.bindings import runtime as cudart


def _ok(answer):
    error, *values = answer
    if error != cudart.cudaError_t.cudaSuccess:
        raise RuntimeError(cudart.cudaGetErrorString(error)[1].decode())
    return values[0] if values else None


def replay(kernel, batches):
    """One convolution, built here, captured once and launched for each batch."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    x = network.add_input("x", trt.float32, batches[0].shape)
    layer = network.add_convolution_nd(x, kernel.shape[0], kernel.shape[2:], kernel)
    network.mark_output(layer.get_output(0))
    layer.get_output(0).name = "y"
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    h_x = cuda.pagelocked_empty(batches[0].shape, np.float32)
    h_y = cuda.pagelocked_empty(tuple(engine.get_tensor_shape("y")), np.float32)
    d_x, d_y, stream = cuda.mem_alloc(h_x.nbytes), cuda.mem_alloc(h_y.nbytes), cuda.Stream()
    context.set_tensor_address("x", int(d_x))
    context.set_tensor_address("y", int(d_y))

    def enqueue():
        cuda.memcpy_htod_async(d_x, h_x, stream)
        assert context.execute_async_v3(stream.handle)
        cuda.memcpy_dtoh_async(h_y, d_y, stream)

    h_x[...] = batches[0]
    enqueue()
    stream.synchronize()
    _ok(cudart.cudaStreamBeginCapture(stream.handle, cudart.cudaStreamCaptureMode.cudaStreamCaptureModeGlobal))
    enqueue()
    graph = _ok(cudart.cudaStreamEndCapture(stream.handle))
    graph_exec = _ok(cudart.cudaGraphInstantiate(graph, 0))
    results = []
    for batch in batches:
        h_x[...] = batch
        _ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))  # <launch>
        stream.synchronize()
        results.append(h_y.copy())
    _ok(cudart.cudaGraphExecDestroy(graph_exec))
    _ok(cudart.cudaGraphDestroy(graph))
    return results


def nothing():
    return None
'''


def _convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, kernel)


def test_a_graph_in_the_sandbox_gives_the_right_numbers_and_its_log(tmp_path: Path) -> None:
    source = np.random.default_rng(7)
    kernel = source.normal(size=(4, 3, 3, 3)).astype(np.float32)
    batches = [source.normal(size=(2, 3, 8, 8)).astype(np.float32) for _ in range(3)]
    with start(tmp_path, _ANSWER) as candidate:
        returned = candidate.call("replay", kernel, batches, seconds=60)
        assert candidate.call("nothing").evidence.log == ()
    evidence = returned.evidence
    assert evidence.findings == ()
    for batch, result in zip(batches, returned.value, strict=True):
        np.testing.assert_allclose(result, _convolve(batch, kernel), rtol=1e-4, atol=1e-4)

    def did(name: str, *, captured: bool = False) -> list[dict]:
        return [entry for entry in evidence.log if entry["do"] == name and entry["captured"] is captured]

    assert evidence.dropped_log == 0
    assert len(did("launch")) == len(did("launch", captured=True)) == 1
    launches = did("graph_launch")
    line = next(n for n, text in enumerate(_ANSWER.splitlines(), 1) if "# <launch>" in text)
    assert [entry["line"] for entry in launches] == [f"answer.py:{line}"] * 3
    stream = launches[0]["stream"]
    assert did("htod_async", captured=True) == [
        {
            "do": "htod_async",
            "stream": stream,
            "bytes": batches[0].nbytes,
            "line": did("htod_async")[0]["line"],
            "captured": True,
        }
    ]
    assert [entry["do"] for entry in evidence.log if entry["do"].startswith(("capture", "graph"))] == [
        "capture_begin", "capture_end", "graph_instantiate", *["graph_launch"] * 3
    ]  # fmt: skip
