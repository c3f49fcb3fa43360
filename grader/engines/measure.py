"""How long an engine takes on this GPU, in the plain ways that candidates' techniques are compared with.

Seconds of the host's clock for a whole pass over the batches, which holds whatever the host adds.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

#: What `measure` can time.
WAYS = ("pageable", "plain", "enqueue", "copy", "compute")


class Lane:
    """One context with device and host buffers for one batch."""

    def __init__(self, trt: Any, cuda: Any, engine: Any, context: Any, batch: dict[str, np.ndarray]) -> None:
        self._cuda, self._context = cuda, context
        self.stream = cuda.Stream()
        self.copies_in: list[tuple[Any, np.ndarray, np.ndarray]] = []  # device, pinned, pageable
        self.copies_out: list[tuple[Any, np.ndarray, np.ndarray]] = []
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        names.sort(key=lambda name: engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT)  # shapes of outputs follow
        for name in names:
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if is_input:
                context.set_input_shape(name, batch[name].shape)
            shape, dtype = tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name))
            pageable = np.ascontiguousarray(batch[name], dtype) if is_input else np.empty(shape, dtype)
            pinned = cuda.pagelocked_empty(shape, dtype)
            pinned[...] = pageable
            memory = cuda.mem_alloc(max(1, pinned.nbytes))
            context.set_tensor_address(name, int(memory))
            (self.copies_in if is_input else self.copies_out).append((memory, pinned, pageable))

    def copy_in(self, stream: Any) -> None:
        for device, pinned, _ in self.copies_in:
            self._cuda.memcpy_htod_async(device, pinned, stream)

    def copy_out(self, stream: Any) -> None:
        for device, pinned, _ in self.copies_out:
            self._cuda.memcpy_dtoh_async(pinned, device, stream)

    def enqueue(self) -> None:
        self._context.execute_async_v3(self.stream.handle)

    def pageable(self) -> None:
        for device, _, pageable in self.copies_in:
            self._cuda.memcpy_htod(device, pageable)
        self.enqueue()
        self.stream.synchronize()
        for device, _, pageable in self.copies_out:
            self._cuda.memcpy_dtoh(pageable, device)

    def plain(self) -> None:
        self.copy_in(self.stream)
        self.enqueue()
        self.copy_out(self.stream)
        self.stream.synchronize()


def measure(
    trt: Any, cuda: Any, engine: Any, way: str, inputs: dict[str, np.ndarray], count: int, passes: int
) -> float:
    """Seconds per pass over ``count`` batches like ``inputs``, after one pass to warm up.

    ``way``: "pageable" (for each batch: synchronous copies from and to pageable memory, enqueue, wait), "plain" (the
    same with pinned memory, all on one stream), "enqueue" (no copies: enqueue, wait), "copy" (all copies and nothing
    else, those in and those out on a stream each) or "compute" (all enqueues one after the other, one wait).
    """
    lane = Lane(trt, cuda, engine, engine.create_execution_context(), inputs)
    streams = (cuda.Stream(), cuda.Stream())

    def alone() -> None:
        lane.enqueue()
        lane.stream.synchronize()

    def copies() -> None:
        lane.copy_in(streams[0])
        lane.copy_out(streams[1])

    # For each way: what is done for each batch, and what is waited for after all of them.
    each, waited = {
        "pageable": (lane.pageable, ()),
        "plain": (lane.plain, ()),
        "enqueue": (alone, ()),
        "copy": (copies, streams),
        "compute": (lane.enqueue, (lane.stream,)),
    }[way]

    def one_pass() -> None:
        for _ in range(count):
            each()
        for stream in waited:
            stream.synchronize()

    one_pass()
    started = time.perf_counter()
    for _ in range(passes):
        one_pass()
    return (time.perf_counter() - started) / passes
