"""TensorRT's side: builds the plans, and runs them on PyTorch's tensors."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.speech.inputs import (
    LOGIT_STEPS,
    PROMPT,
    TOKENS,
    Decoding,
    References,
    captured,
    models,
    window,
)

#: The cache begins with a slot that the decoder does not look at: not every TensorRT takes a dimension of 0.
LEAST = 1


class _Engine:
    """An engine whose tensors are PyTorch's."""

    def __init__(self, trt: Any, plan: bytes) -> None:
        import torch

        self.torch, self.trt = torch, trt
        self.engine = RUNTIME[0].deserialize_cuda_engine(plan)
        self.context = self.engine.create_execution_context()
        self.tensors: dict[str, Any] = {}

    def give(self, name: str, tensor: Any, shape: tuple[int, ...] | None = None) -> None:
        """An input, or memory for an output; `shape` where the tensor is larger than what counts."""
        if self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT and not self.context.set_input_shape(
            name, shape or tuple(tensor.shape)
        ):
            raise ValueError(f"{name}: {shape or tuple(tensor.shape)} is outside the profile")
        self.tensors[name] = tensor  # kept alive
        self.context.set_tensor_address(name, tensor.data_ptr())

    def enqueue(self) -> None:
        if not self.context.execute_async_v3(self.torch.cuda.current_stream().cuda_stream):
            raise RuntimeError("the engine does not run")


RUNTIME: list[Any] = []
_LOGGER: list[Any] = []


def start_tensorrt() -> Any:
    """The module, with TensorRT 10's names, as candidates get it."""
    import torch

    from grader.inside.trtprep_worker import bridge

    torch.zeros(1, device="cuda")  # the primary context
    torch.cuda.set_stream(torch.cuda.Stream())  # on the default one, TensorRT waits for the whole device
    bridge.install("gpu", {})
    import tensorrt as trt

    _LOGGER.append(trt.Logger(trt.Logger.ERROR))
    RUNTIME.append(trt.Runtime(_LOGGER[0]))
    return trt


def build(trt: Any, onnx: str, profile: dict[str, tuple[tuple[int, ...], ...]], plan: Path, level: int | None) -> float:
    """Write a plan, if it is not there. Seconds of building, 0 where it was there."""
    if plan.exists():
        return 0.0
    began = time.perf_counter()
    if not _BUILDER:
        _BUILDER.append(trt.Builder(_LOGGER[0]))
    builder = _BUILDER[0]
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, _LOGGER[0])
    if not parser.parse((models() / onnx).read_bytes()):
        raise ValueError("; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if level is not None:
        config.builder_optimization_level = level
    given = builder.create_optimization_profile()
    for name, shapes in profile.items():
        given.set_shape(name, *shapes)
    if config.add_optimization_profile(given) < 0:
        raise ValueError("the profile is refused")
    kept = plan.parent / "timing.cache"
    cache = config.create_timing_cache(kept.read_bytes() if kept.exists() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    made = builder.build_serialized_network(network, config)
    if made is None:
        raise ValueError("the build failed")
    temporary = plan.with_suffix(".part")
    temporary.write_bytes(memoryview(made))
    temporary.replace(plan)
    kept.write_bytes(memoryview(config.get_timing_cache().serialize()))
    return time.perf_counter() - began


_BUILDER: list[Any] = []


class Speech:
    """TensorRT's contenders for one batch."""

    def __init__(self, trt: Any, references: References) -> None:
        import torch

        self.trt, self.torch, self.references = trt, torch, references

    def _half(self, *shape: int) -> Any:
        return self.torch.zeros(shape, dtype=self.torch.float16, device="cuda")

    def encoder(self, plan: bytes, clips: tuple[str, ...], graph: bool) -> Callable[[], tuple[Any, Any]]:
        torch, engine = self.torch, _Engine(self.trt, plan)
        mel = torch.from_numpy(self.references.mels(clips)).pin_memory()
        batch = len(clips)
        on_gpu = mel.cuda()
        cross = self._half(4, batch, 6, 64, 1500), self._half(4, batch, 6, 1500, 64)
        for name, tensor in zip(("mel", "cross_keys", "cross_values"), (on_gpu, *cross), strict=True):
            engine.give(name, tensor)
        launch = captured(self.torch, engine.enqueue) if graph else engine.enqueue

        def call() -> tuple[Any, Any]:
            on_gpu.copy_(mel, non_blocking=True)
            launch()
            return cross

        return call

    def whisper(
        self, encoder: bytes, decoder: bytes, clips: tuple[str, ...], graph: bool
    ) -> Callable[[], list[list[int]]]:
        """Encoder and decoder. With `graph`, a step is a CUDA graph over a cache of one length that is shifted.

        The cache's slots in front of the text are not seen, so the text may stand at its end: see
        `whisper_decoder_onnx`. Without, the cache grows by one in each step, and the plan's profile has to allow that.
        """
        torch = self.torch
        encode = self.encoder(encoder, clips, graph)
        decoding, engine = Decoding(self.references, clips, torch.int32), _Engine(self.trt, decoder)
        cross, batch, most = encode(), decoding.batch, window(decoding.steps)
        positions = torch.zeros(1, dtype=torch.int32, device="cuda")
        logits = torch.zeros(batch, 1, TOKENS, device="cuda")
        engine.give("tokens", decoding.tokens)
        engine.give("positions", positions)
        engine.give("cross_keys", cross[0])
        engine.give("cross_values", cross[1])
        engine.give("logits", logits)

        def choose() -> None:
            decoding.tokens.copy_((logits[:, 0] + decoding.bias).argmax(1, keepdim=True))
            positions.add_(1)

        caches = [[self._half(4, batch, 6, most + 2, 64) for _ in ("keys", "values")] for _ in range(2)]

        def growing(index: int) -> None:
            old, new = caches[index % 2], caches[1 - index % 2]
            for name, before, after in zip(("keys", "values"), old, new, strict=True):
                engine.give(f"past_{name}", before, (4, batch, 6, index + LEAST, 64))
                engine.give(f"present_{name}", after)
            engine.enqueue()
            choose()

        step = growing
        if graph:
            past = [self._half(4, batch, 6, most, 64) for _ in ("keys", "values")]
            present = [self._half(4, batch, 6, most + 1, 64) for _ in ("keys", "values")]
            for name, before, after in zip(("keys", "values"), past, present, strict=True):
                engine.give(f"past_{name}", before)
                engine.give(f"present_{name}", after)

            def shifting() -> None:
                engine.enqueue()
                choose()
                for before, after in zip(past, present, strict=True):
                    before.copy_(after[:, :, :, 1:])

            replay = captured(self.torch, shifting)

            def step(index: int) -> None:
                replay()

        def call() -> list[list[int]]:
            encode()
            positions.zero_()
            return decoding.run(step)

        return call

    def logits(self, encoder: bytes, decoder: bytes, clip: str) -> np.ndarray:
        """[steps, tokens] along the reference's text, at LOGIT_STEPS. The decoder is one of a fixed cache."""
        torch, engine = self.torch, _Engine(self.trt, decoder)
        cross = self.encoder(encoder, (clip,), graph=False)()
        fed = [*PROMPT, *self.references[f"tokens/{clip}"].tolist()]
        most = window(len(fed))
        tokens = torch.zeros(1, 1, dtype=torch.int32, device="cuda")
        positions = torch.zeros(1, dtype=torch.int32, device="cuda")
        logits = torch.zeros(1, 1, TOKENS, device="cuda")
        past = [self._half(4, 1, 6, most, 64) for _ in ("keys", "values")]
        present = [self._half(4, 1, 6, most + 1, 64) for _ in ("keys", "values")]
        given = (tokens, positions, *cross, logits, *past, *present)
        names = ("tokens", "positions", "cross_keys", "cross_values", "logits")
        caches = ("past_keys", "past_values", "present_keys", "present_values")
        for name, tensor in zip((*names, *caches), given, strict=True):
            engine.give(name, tensor)
        found = []
        for index in range(min(len(fed), LOGIT_STEPS[-1] + 1)):
            tokens.fill_(fed[index])
            positions.fill_(index)
            engine.enqueue()
            for before, after in zip(past, present, strict=True):
                before.copy_(after[:, :, :, 1:])
            torch.cuda.synchronize()
            if index in LOGIT_STEPS:
                found.append(logits[0, 0].cpu().numpy().copy())
        return np.stack(found)

    def ctc(self, plan: bytes, clips: tuple[str, ...], graph: bool) -> tuple[Callable[[], np.ndarray], Any, np.ndarray]:
        torch, engine = self.torch, _Engine(self.trt, plan)
        waves, lengths = self.references.waves(clips)
        pinned = torch.from_numpy(waves).pin_memory()
        on_gpu, counts = pinned.cuda(), torch.from_numpy(lengths).cuda()
        frames = (waves.shape[1] // 160 + 2) // 2
        log_probs = torch.zeros(len(clips), frames, 191, device="cuda")
        best = torch.zeros(len(clips), frames, dtype=torch.int64, device="cuda")
        told = torch.zeros_like(best, device="cpu").pin_memory()
        out_lengths = torch.zeros(len(clips), dtype=torch.int32, device="cuda")
        engine.give("waveform", on_gpu)
        engine.give("waveform_lengths", counts)
        engine.give("log_probs", log_probs)
        engine.give("out_lengths", out_lengths)

        def work() -> None:
            on_gpu.copy_(pinned, non_blocking=True)
            engine.enqueue()
            torch.argmax(log_probs, -1, out=best)
            told.copy_(best, non_blocking=True)

        launch = captured(self.torch, work) if graph else work

        def call() -> np.ndarray:
            launch()
            torch.cuda.current_stream().synchronize()
            return told.numpy().copy()

        return call, log_probs, lengths
