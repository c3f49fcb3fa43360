"""What CUDA answers to calls that a capture forbids, and to the few that it does not.

Run on a GPU, `python tests/twin/programs/capture_errors.py` says where `EXPECTED` is not what CUDA does; a test holds
the twin to `EXPECTED`.  Each value is what the calls of one function answer, in order, without "cudaError": an H100's.
"""

import threading

import numpy as np
from cuda.bindings import runtime as rt

GLOBAL = rt.cudaStreamCaptureMode.cudaStreamCaptureModeGlobal
THREAD_LOCAL = rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
RELAXED = rt.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
TO_DEVICE = rt.cudaMemcpyKind.cudaMemcpyHostToDevice
TO_HOST = rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
BLOCKING, APART = rt.cudaStreamDefault, rt.cudaStreamNonBlocking


class Bench:
    """A stream that captures, another, two events, and device memory; every answer is noted."""

    def __init__(self, mode=GLOBAL, flags=APART):
        rt.cudaGetLastError()
        self.stream, self.other = (rt.cudaStreamCreateWithFlags(flags)[1] for _ in range(2))
        self.event, self.second = (rt.cudaEventCreate()[1] for _ in range(2))
        self.memory, self.spare = rt.cudaMalloc(64)[1], rt.cudaMalloc(64)[1]
        self.said = []
        if mode is not None:
            rt.cudaStreamBeginCapture(self.stream, mode)

    def note(self, answer):
        self.said.append(answer[0].name.replace("cudaError", "").replace("cudaSuccess", "ok"))
        return answer[1] if len(answer) > 1 else None

    def end(self, stream=None):
        graph = self.note(rt.cudaStreamEndCapture(stream or self.stream))
        rt.cudaGetLastError()
        return graph


def _alone(call, mode=GLOBAL, flags=APART):
    """The answer to one call inside a capture, and to the capture's end."""

    def run():
        bench = Bench(mode, flags)
        bench.note(call(bench))
        bench.end()
        return bench

    return run


def _recorded(call, mode=GLOBAL):
    """As `_alone`, with an event that was recorded, and reached, before the capture began."""

    def run():
        bench = Bench(None)
        rt.cudaEventRecord(bench.event, bench.other)
        rt.cudaStreamSynchronize(bench.other)
        rt.cudaStreamBeginCapture(bench.stream, mode)
        bench.note(call(bench))
        bench.end()
        return bench

    return run


def _captured(call):
    """As `_alone`, with an event that was recorded in the capture."""

    def run():
        bench = Bench()
        rt.cudaEventRecord(bench.event, bench.stream)
        bench.note(call(bench))
        bench.end()
        return bench

    return run


def _in_thread(bench, call):
    thread = threading.Thread(target=lambda: bench.note(call(bench)))
    thread.start()
    thread.join()


def _other_thread(call, mode):
    def run():
        bench = Bench(mode)
        _in_thread(bench, call)
        bench.end()
        return bench

    return run


def _fork(bench):
    rt.cudaEventRecord(bench.event, bench.stream)
    bench.note(rt.cudaStreamWaitEvent(bench.other, bench.event, 0))


def _join(bench):
    rt.cudaEventRecord(bench.second, bench.other)
    bench.note(rt.cudaStreamWaitEvent(bench.stream, bench.second, 0))


def _joined():
    bench = Bench()
    _fork(bench)
    bench.note(rt.cudaMemsetAsync(bench.memory, 0, 64, bench.other))
    _join(bench)
    bench.end()
    return bench


def _unjoined():
    bench = Bench()
    _fork(bench)
    rt.cudaMemsetAsync(bench.memory, 0, 64, bench.other)
    bench.end()
    return bench


def _branch_without_work():
    bench = Bench()
    _fork(bench)
    bench.end()
    return bench


def _ended_on_the_other():
    bench = Bench()
    _fork(bench)
    _join(bench)
    bench.end(bench.other)
    bench.end()
    return bench


def _merged():
    bench = Bench()
    rt.cudaStreamBeginCapture(bench.other, GLOBAL)
    _fork(bench)
    bench.end()
    bench.end(bench.other)
    return bench


def _ended_in_a_thread(mode):
    def run():
        bench = Bench(mode)
        _in_thread(bench, lambda b: rt.cudaStreamEndCapture(b.stream))
        bench.end()
        return bench

    return run


def _after_the_end(call):
    def run():
        bench = Bench()
        rt.cudaEventRecord(bench.event, bench.stream)
        bench.end()
        bench.note(call(bench))
        rt.cudaGetLastError()
        return bench

    return run


def _end_alone():
    bench = Bench(None)
    bench.end()
    return bench


def _begin(stream):
    def run():
        bench = Bench(None)
        bench.note(rt.cudaStreamBeginCapture(stream, GLOBAL))
        rt.cudaGetLastError()
        return bench

    return run


def _updated():
    bench = Bench()
    rt.cudaMemsetAsync(bench.memory, 0, 64, bench.stream)
    executable = rt.cudaGraphInstantiate(bench.end(), 0)[1]
    for calls in (1, 2):
        rt.cudaStreamBeginCapture(bench.stream, GLOBAL)
        for _ in range(calls):
            rt.cudaMemsetAsync(bench.memory, calls, 64, bench.stream)
        graph = rt.cudaStreamEndCapture(bench.stream)[1]
        bench.note(rt.cudaGraphExecUpdate(executable, graph))
        rt.cudaGetLastError()
    bench.note(rt.cudaGraphLaunch(executable, bench.other))
    bench.note(rt.cudaStreamSynchronize(bench.other))
    return bench


_HOST = np.zeros(64, np.uint8)
_U, _I = "StreamCaptureUnsupported", "StreamCaptureInvalidated"
CASES = {
    "cudaMalloc": (_alone(lambda b: rt.cudaMalloc(64)), [_U, _I]),
    "cudaMalloc, thread-local": (_alone(lambda b: rt.cudaMalloc(64), THREAD_LOCAL), [_U, _I]),
    "cudaMalloc, relaxed": (_alone(lambda b: rt.cudaMalloc(64), RELAXED), ["ok", "ok"]),
    "cudaMalloc, another thread, global": (_other_thread(lambda b: rt.cudaMalloc(64), GLOBAL), [_U, _I]),
    "cudaMalloc, another thread, local": (_other_thread(lambda b: rt.cudaMalloc(64), THREAD_LOCAL), ["ok", "ok"]),
    "cudaFree": (_alone(lambda b: rt.cudaFree(b.spare)), [_U, _I]),
    "cudaMallocHost": (_alone(lambda b: rt.cudaMallocHost(64)), [_U, _I]),
    "cudaMemGetInfo": (_alone(lambda b: rt.cudaMemGetInfo()), ["ok", "ok"]),
    "cudaStreamCreate": (_alone(lambda b: rt.cudaStreamCreate()), ["ok", "ok"]),
    "cudaEventCreate": (_alone(lambda b: rt.cudaEventCreate()), ["ok", "ok"]),
    "cudaStreamSynchronize": (_alone(lambda b: rt.cudaStreamSynchronize(b.stream)), [_U, _I]),
    "cudaStreamSynchronize, relaxed": (_alone(lambda b: rt.cudaStreamSynchronize(b.stream), RELAXED), [_U, _I]),
    "cudaStreamSynchronize of another": (_alone(lambda b: rt.cudaStreamSynchronize(b.other)), [_U, _I]),
    "cudaStreamQuery": (_alone(lambda b: rt.cudaStreamQuery(b.stream)), [_U, _I]),
    "cudaDeviceSynchronize": (_alone(lambda b: rt.cudaDeviceSynchronize()), [_U, _I]),
    "cudaDeviceSynchronize, relaxed": (_alone(lambda b: rt.cudaDeviceSynchronize(), RELAXED), [_U, _I]),
    "a synchronous copy": (
        _alone(lambda b: rt.cudaMemcpy(b.memory, _HOST, 64, TO_DEVICE), GLOBAL, BLOCKING),
        ["StreamCaptureImplicit", _I],
    ),
    "a synchronous copy, relaxed": (
        _alone(lambda b: rt.cudaMemcpy(b.memory, _HOST, 64, TO_DEVICE), RELAXED, BLOCKING),
        ["StreamCaptureImplicit", _I],
    ),
    "a synchronous copy beside a non-blocking stream": (
        _alone(lambda b: rt.cudaMemcpy(b.memory, _HOST, 64, TO_DEVICE)),
        ["ok", "ok"],
    ),
    "a synchronous copy beside a non-blocking stream, relaxed": (
        _alone(lambda b: rt.cudaMemcpy(b.memory, _HOST, 64, TO_DEVICE), RELAXED),
        ["ok", "ok"],
    ),
    "cudaMemset": (_alone(lambda b: rt.cudaMemset(b.memory, 0, 64), GLOBAL, BLOCKING), ["StreamCaptureImplicit", _I]),
    "cudaStreamIsCapturing of the default stream": (
        _alone(lambda b: rt.cudaStreamIsCapturing(0), GLOBAL, BLOCKING),
        ["StreamCaptureImplicit", "ok"],
    ),
    "cudaEventQuery of one from before": (_recorded(lambda b: rt.cudaEventQuery(b.event)), [_U, _I]),
    "cudaEventQuery of one from before, relaxed": (
        _recorded(lambda b: rt.cudaEventQuery(b.event), RELAXED),
        ["ok"] * 2,
    ),
    "cudaEventSynchronize of one from before": (_recorded(lambda b: rt.cudaEventSynchronize(b.event)), [_U, _I]),
    "cudaStreamWaitEvent for one from before": (
        _recorded(lambda b: rt.cudaStreamWaitEvent(b.stream, b.event, 0)),
        ["StreamCaptureIsolation", _I],
    ),
    "cudaStreamWaitEvent for one never recorded": (
        _alone(lambda b: rt.cudaStreamWaitEvent(b.stream, b.event, 0)),
        ["ok", "ok"],
    ),
    "cudaEventSynchronize": (_captured(lambda b: rt.cudaEventSynchronize(b.event)), ["CapturedEvent", _I]),
    "cudaEventQuery": (_captured(lambda b: rt.cudaEventQuery(b.event)), ["CapturedEvent", _I]),
    "cudaEventSynchronize after the end": (
        _after_the_end(lambda b: rt.cudaEventSynchronize(b.event)),
        ["ok", "InvalidValue"],
    ),
    "a branch that joins": (_joined, ["ok"] * 4),
    "a branch that does not": (_unjoined, ["ok", "StreamCaptureUnjoined"]),
    "a branch without work": (_branch_without_work, ["ok", "ok"]),
    "the end on another stream": (_ended_on_the_other, ["ok", "ok", "StreamCaptureUnmatched", _I]),
    "two captures that meet": (_merged, ["StreamCaptureMerge", _I, _I]),
    "the end in another thread": (_ended_in_a_thread(GLOBAL), ["StreamCaptureWrongThread", "IllegalState"]),
    "the end in another thread, relaxed": (_ended_in_a_thread(RELAXED), ["ok", "IllegalState"]),
    "the end without a begin": (_end_alone, ["IllegalState"]),
    "the begin on the default stream": (_begin(0), [_U]),
    "a second begin": (_alone(lambda b: rt.cudaStreamBeginCapture(b.stream, GLOBAL)), ["IllegalState", "ok"]),
    "an update": (_updated, ["ok", "ok", "GraphExecUpdateFailure", "ok", "ok"]),
    "cudaStreamSynchronize of another, thread-local": (
        _alone(lambda b: rt.cudaStreamSynchronize(b.other), THREAD_LOCAL),
        [_U, _I],
    ),
    "cudaStreamSynchronize of another, relaxed": (
        _alone(lambda b: rt.cudaStreamSynchronize(b.other), RELAXED),
        ["ok", "ok"],
    ),
    "cudaStreamQuery of another": (_alone(lambda b: rt.cudaStreamQuery(b.other)), [_U, _I]),
    "cudaStreamQuery of another, relaxed": (_alone(lambda b: rt.cudaStreamQuery(b.other), RELAXED), ["ok", "ok"]),
    "cudaEventSynchronize of one from before, relaxed": (
        _recorded(lambda b: rt.cudaEventSynchronize(b.event), RELAXED),
        ["ok", "ok"],
    ),
    "cudaEventQuery after the end": (_after_the_end(lambda b: rt.cudaEventQuery(b.event)), ["ok", "InvalidValue"]),
    "cudaStreamWaitEvent after the end": (
        _after_the_end(lambda b: rt.cudaStreamWaitEvent(b.other, b.event, 0)),
        ["ok", "InvalidValue"],
    ),
    "a synchronous copy back beside a non-blocking stream": (
        _alone(lambda b: rt.cudaMemcpy(_HOST, b.memory, 64, TO_HOST)),
        ["ok", "ok"],
    ),
}
EXPECTED = {name: answers for name, (_, answers) in CASES.items()}


def outcomes():
    return {name: run().said for name, (run, _) in CASES.items()}


if __name__ == "__main__":
    wrong = {name: said for name, said in outcomes().items() if said != EXPECTED[name]}
    for name, said in wrong.items():
        print(f"{name}: {said}, expected {EXPECTED[name]}")
    raise SystemExit(f"{len(wrong)} of {len(CASES)} differ" if wrong else None)
