"""PyTorch's side, in a process of its own, under a Python that has PyTorch and Triton."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.speech.inputs import (
    WORKLOADS,
    Decoding,
    References,
    captured,
    greedy_labels,
    models,
    timed,
    window,
)

#: torch.compile's; the last one's kernels are captured into a CUDA graph here, should "reduce-overhead" not do it.
MODES = {"compile": "reduce-overhead", "compile-default": "default", "compile-graph": "default"}


def serve(references: References) -> None:
    """Answer requests, one JSON line each: {"make": contender, "model", "workload"} or {"time": contender}."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch
    import torch._dynamo

    side = _Torch(torch, references)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with torch.no_grad():
                answer = (
                    side.make(**request["make"]) if "make" in request else timed(torch, side.calls[request["time"]])
                )
        except Exception as error:  # noqa: BLE001 (told to the other process, which goes on without this contender)
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:1000]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class _Torch:
    def __init__(self, torch: Any, references: References) -> None:
        self.torch, self.references = torch, references
        self.calls: dict[str, Callable[[], Any]] = {}
        self._models: dict[str, Any] = {}
        torch._dynamo.config.recompile_limit = 64  # one for each workload

    def make(self, name: str, model: str, workload: str, way: str) -> dict[str, Any]:
        """Warm a contender up; what it answers, and how long that took."""
        torch, began = self.torch, time.perf_counter()
        torch._dynamo.utils.counters.clear()
        clips = WORKLOADS[workload]
        make = {"whisper": self._whisper, "encoder": self._encoder, "ctc": self._ctc}[model]
        call, answer = make(clips, way)
        for _ in range(4):
            result = call()
        torch.cuda.synchronize()
        self.calls[name] = call
        skips = torch._dynamo.utils.counters["inductor"].get("cudagraph_skips", 0)
        return {"answer": answer(result), "seconds": time.perf_counter() - began, "cudagraph_skips": skips}

    def _model(self, kind: str) -> Any:
        from tests.benchmarks.speech import pytorch_models

        if kind not in self._models:
            folder = models()
            if kind == "ctc":
                made = pytorch_models.phoneme_ctc(folder / "phoneme_ctc-fp16.onnx", self.torch.float16, "cuda")
            else:
                names = (f"whisper_tiny_en_{part}-fp16.onnx" for part in ("encoder", "decoder"))
                made = pytorch_models.whisper(*(folder / name for name in names)).half().cuda()
            self._models[kind] = made.requires_grad_(False)
        return self._models[kind]

    def _compiled(self, function: Callable[..., Any], way: str) -> Callable[..., Any]:
        if way == "eager":
            return function
        mode = MODES[way]
        return self.torch.compile(function, mode=mode, dynamic=False, fullgraph=True)

    def _launcher(self, work: Callable[[], Any], way: str) -> Callable[[], Any]:
        return captured(self.torch, work) if way == "compile-graph" else work

    def _encoder(self, clips: tuple[str, ...], way: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        torch, model = self.torch, self._model("whisper")
        mel = torch.from_numpy(self.references.mels(clips)).pin_memory()
        on_gpu = mel.cuda()
        torch._dynamo.mark_static_address(on_gpu)
        encode = self._compiled(model.encode, way)
        launch = self._launcher(lambda: encode(on_gpu), way)

        def call() -> Any:
            on_gpu.copy_(mel, non_blocking=True)
            torch.compiler.cudagraph_mark_step_begin()
            return launch()

        return call, lambda _: None

    def _whisper(self, clips: tuple[str, ...], way: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        torch, model = self.torch, self._model("whisper")
        encode, _ = self._encoder(clips, "eager")
        decoding = Decoding(self.references, clips, torch.int64)
        if way == "eager":

            def eager() -> list[list[int]]:
                with torch.inference_mode():
                    cross, past = encode(), []

                    def step(index: int) -> None:
                        nonlocal past
                        logits, past = model.grow(decoding.tokens, index, past, cross)
                        decoding.tokens.copy_((logits + decoding.bias).argmax(1, keepdim=True))

                    return decoding.run(step)

            return eager, lambda result: result
        encode, _ = self._encoder(clips, way)
        most, batch = window(decoding.steps), decoding.batch

        def zeros(length: int) -> list[Any]:
            made = [torch.zeros(batch, 6, length, 64, dtype=torch.float16, device="cuda") for _ in range(4)]
            for tensor in made:
                torch._dynamo.mark_static_address(tensor)
            return made

        keys, values, cross_keys, cross_values = zeros(most), zeros(most), zeros(1500), zeros(1500)
        position = torch.zeros(1, dtype=torch.int64, device="cuda")
        for tensor in (position, decoding.tokens, decoding.bias):
            torch._dynamo.mark_static_address(tensor)

        def one(
            tokens: Any, position: Any, bias: Any, keys: Any, values: Any, cross_keys: Any, cross_values: Any
        ) -> None:
            logits = model.fixed(tokens, position, keys, values, cross_keys, cross_values)
            tokens.copy_((logits + bias).argmax(1, keepdim=True))
            position.add_(1)

        mode = MODES[way]
        compiled = torch.compile(one, mode=mode, dynamic=False, fullgraph=True)

        given = (decoding.tokens, position, decoding.bias, keys, values, cross_keys, cross_values)
        launch = self._launcher(lambda: compiled(*given), way)

        def step(index: int) -> None:
            torch.compiler.cudagraph_mark_step_begin()  # or each step would be recorded as one more after the last
            launch()

        def call() -> list[list[int]]:
            found = encode()
            for old, new in zip(cross_keys + cross_values, found[0] + found[1], strict=True):
                old.copy_(new)
            del found
            position.zero_()
            return decoding.run(step)

        return call, lambda result: result

    def _ctc(self, clips: tuple[str, ...], way: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        torch, model = self.torch, self._model("ctc")
        waves, lengths = self.references.waves(clips)
        pinned = torch.from_numpy(waves).pin_memory()
        on_gpu, counts = pinned.cuda(), torch.from_numpy(lengths).cuda()
        torch._dynamo.mark_static_address(on_gpu)
        torch._dynamo.mark_static_address(counts)
        best = self._compiled(lambda waveform, valid: model(waveform, valid)[0].argmax(-1), way)
        launch = self._launcher(lambda: best(on_gpu, counts), way)

        told = None

        def call() -> np.ndarray:
            nonlocal told
            on_gpu.copy_(pinned, non_blocking=True)
            torch.compiler.cudagraph_mark_step_begin()
            found = launch()
            if told is None:
                told = torch.empty_like(found, device="cpu").pin_memory()
            told.copy_(found, non_blocking=True)
            torch.cuda.current_stream().synchronize()
            return told.numpy().copy()

        return call, lambda result: greedy_labels(result, lengths)
