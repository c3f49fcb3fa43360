"""Stream capture and graphs."""

from __future__ import annotations

from typing import Any

from trtprep_worker.device_link import connect

from ._answers import Answer, command, cuda, handle_of, stream_of
from ._numbers import cudaError_t, cudaGraphExecUpdateResult, cudaStreamCaptureMode, cudaStreamCaptureStatus
from ._types import cudaGraph_t, cudaGraphExec_t, cudaGraphExecUpdateResultInfo, cudaGraphNode_t


@command()
def cudaStreamBeginCapture(stream: Any, mode: cudaStreamCaptureMode) -> tuple[()]:
    cuda("stream_begin_capture", stream_of(stream), int(mode.value))
    return ()


@command(1)
def cudaStreamEndCapture(stream: Any) -> tuple[cudaGraph_t]:
    return (cudaGraph_t(cuda("stream_end_capture", stream_of(stream))),)


@command(1)
def cudaStreamIsCapturing(stream: Any) -> tuple[cudaStreamCaptureStatus]:
    status, _ = cuda("stream_is_capturing", stream_of(stream))
    return (cudaStreamCaptureStatus(status),)


@command(1)
def cudaThreadExchangeStreamCaptureMode(mode: cudaStreamCaptureMode) -> tuple[cudaStreamCaptureMode]:
    return (cudaStreamCaptureMode(cuda("exchange_capture_mode", int(mode.value))),)


@command(2)
def cudaGraphGetNodes(graph: Any, numNodes: int = 0) -> tuple[list[cudaGraphNode_t], int]:
    count = cuda("graph_nodes", handle_of(graph))
    return [cudaGraphNode_t(i + 1 if i < count else 0) for i in range(numNodes)], count


@command(1)
def cudaGraphInstantiate(graph: Any, flags: int) -> tuple[cudaGraphExec_t]:
    made, copies = cuda("graph_instantiate", handle_of(graph))
    connect().keep_graph(made, copies)
    return (cudaGraphExec_t(made),)


@command(1)
def cudaGraphInstantiateWithFlags(graph: Any, flags: int) -> tuple[cudaGraphExec_t]:
    made, copies = cuda("graph_instantiate", handle_of(graph))
    connect().keep_graph(made, copies)
    return (cudaGraphExec_t(made),)


@command(1)
def cudaGraphExecUpdate(hGraphExec: Any, hGraph: Any) -> tuple[cudaGraphExecUpdateResultInfo]:
    executable = handle_of(hGraphExec)
    result, copies = cuda("graph_update", executable, handle_of(hGraph))
    connect().keep_graph(executable, copies)
    if result != cudaGraphExecUpdateResult.cudaGraphExecUpdateSuccess:
        raise Answer(cudaError_t.cudaErrorGraphExecUpdateFailure)
    return (cudaGraphExecUpdateResultInfo(),)


@command()
def cudaGraphUpload(graphExec: Any, stream: Any) -> tuple[()]:
    cuda("graph_upload", handle_of(graphExec), stream_of(stream))
    return ()


@command()
def cudaGraphLaunch(graphExec: Any, stream: Any) -> tuple[()]:
    connect().launch(handle_of(graphExec), stream_of(stream))
    return ()


@command()
def cudaGraphExecDestroy(graphExec: Any) -> tuple[()]:
    cuda("graph_exec_destroy", handle_of(graphExec))
    return ()


@command()
def cudaGraphDestroy(graph: Any) -> tuple[()]:
    cuda("graph_destroy", handle_of(graph))
    return ()
