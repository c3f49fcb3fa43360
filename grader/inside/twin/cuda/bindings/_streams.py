"""Streams and events."""

from __future__ import annotations

import operator
from typing import Any

from ._answers import Answer, command, cuda, handle_of, stream_of
from ._numbers import cudaError_t, cudaEventDefault, cudaStreamDefault
from ._types import cudaEvent_t, cudaStream_t


@command(1)
def cudaStreamCreate() -> tuple[cudaStream_t]:
    return (cudaStream_t(cuda("stream_create", cudaStreamDefault)),)


@command(1)
def cudaStreamCreateWithFlags(flags: int) -> tuple[cudaStream_t]:
    return (cudaStream_t(cuda("stream_create", operator.index(flags))),)


@command(1)
def cudaStreamCreateWithPriority(flags: int, priority: int) -> tuple[cudaStream_t]:
    return (cudaStream_t(cuda("stream_create", operator.index(flags))),)


@command()
def cudaStreamDestroy(stream: Any) -> tuple[()]:
    cuda("stream_destroy", stream_of(stream))
    return ()


@command()
def cudaStreamSynchronize(stream: Any) -> tuple[()]:
    cuda("stream_synchronize", stream_of(stream))
    return ()


@command()
def cudaStreamQuery(stream: Any) -> tuple[()]:
    if not cuda("stream_query", stream_of(stream)):
        raise Answer(cudaError_t.cudaErrorNotReady)
    return ()


@command()
def cudaStreamWaitEvent(stream: Any, event: Any, flags: int) -> tuple[()]:
    cuda("stream_wait_event", stream_of(stream), handle_of(event))
    return ()


@command(1)
def cudaEventCreate() -> tuple[cudaEvent_t]:
    return (cudaEvent_t(cuda("event_create", cudaEventDefault)),)


@command(1)
def cudaEventCreateWithFlags(flags: int) -> tuple[cudaEvent_t]:
    return (cudaEvent_t(cuda("event_create", operator.index(flags))),)


@command()
def cudaEventRecord(event: Any, stream: Any) -> tuple[()]:
    cuda("event_record", handle_of(event), stream_of(stream))
    return ()


@command()
def cudaEventRecordWithFlags(event: Any, stream: Any, flags: int) -> tuple[()]:
    cuda("event_record", handle_of(event), stream_of(stream))
    return ()


@command()
def cudaEventSynchronize(event: Any) -> tuple[()]:
    cuda("event_synchronize", handle_of(event))
    return ()


@command()
def cudaEventQuery(event: Any) -> tuple[()]:
    if not cuda("event_query", handle_of(event)):
        raise Answer(cudaError_t.cudaErrorNotReady)
    return ()


@command(1)
def cudaEventElapsedTime(start: Any, end: Any) -> tuple[float]:
    return (cuda("event_elapsed", handle_of(start), handle_of(end)),)


@command()
def cudaEventDestroy(event: Any) -> tuple[()]:
    cuda("event_destroy", handle_of(event))
    return ()
