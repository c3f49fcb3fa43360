"""Both sides in turns, and what is told of them."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import select
import statistics
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from grader.fixtures.speech.plans import decoder_profile
from tests.benchmarks.speech.inputs import (
    CHECKED,
    RECORDINGS,
    WIDEST,
    WORKLOADS,
    References,
    greedy_labels,
    models,
    timed,
    window,
)
from tests.benchmarks.speech.tensorrt_side import LEAST, Speech, build, start_tensorrt

BEGAN = time.monotonic()


class _Server:
    """The process that has PyTorch's contenders."""

    def __init__(self, python: str, references: Path, plans: Path) -> None:
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH", "PYTHONHOME")}
        env |= {"TORCHINDUCTOR_CACHE_DIR": str(plans / "inductor"), "TRTPREP_CACHE": str(models().parent)}
        argv = [python, "-m", "tests.benchmarks.speech", "serve", str(references)]
        self._log = (plans / "torch.log").open("ab")
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=env)

    def ask(self, request: dict[str, Any], seconds: float) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
        if not select.select([stdout], [], [], seconds)[0]:
            self._process.kill()
            raise TimeoutError(f"PyTorch did not answer within {seconds:.0f} s")
        line = stdout.readline()
        if not line:
            raise ConnectionError("PyTorch's process ended: see torch.log among the plans")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._log.close()


class Bench:
    """All parts in order; each may fail by itself."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.results = options, {}
        if options.json.exists():
            self.results = json.loads(options.json.read_text())
        options.plans.mkdir(parents=True, exist_ok=True)
        self.references = References(options.references)
        self.ways = options.tensorrt.split(",")
        self.trt = start_tensorrt()
        self.server: _Server | None = None

    def left(self) -> float:
        return self.options.limit - (time.monotonic() - BEGAN)

    def say(self, key: str, text: str, **figures: Any) -> None:
        print(f"[{time.monotonic() - BEGAN:6.1f} s] {key}: {text}", flush=True)
        self.results[key] = {"text": text, **figures}
        self.options.json.parent.mkdir(parents=True, exist_ok=True)
        self.options.json.write_text(json.dumps(self.results, indent=1))

    def need(self, seconds: float) -> None:
        if self.left() < seconds:
            raise TimeoutError(f"left out: {self.left():.0f} s are left, it may need {seconds:.0f}")

    @contextlib.contextmanager
    def part(self, key: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 (one part's failure must not cost the others their time on a GPU)
            traceback.print_exc()
            self.say(f"{key} FAILED", f"{type(error).__name__}: {error}"[:600])

    def run(self) -> None:
        wanted = self.options.parts.split(",")
        names = self.trt.__version__, self.torch_name()
        self.say("device", f"TensorRT {names[0]}, {names[1]}")
        parts = {
            "whisper1": lambda: self.whisper(1),
            "ctc1": lambda: self.ctc(1),
            "whisper16": lambda: self.whisper(16),
            "ctc16": lambda: self.ctc(16),
        }
        for name, part in parts.items():
            if name in wanted:
                part()
        if self.server is not None:
            self.server.close()

    def torch_name(self) -> str:
        import torch

        return f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}"

    def plan(self, name: str) -> Path:
        return Path(self.options.plans, f"{name}.plan")

    def built(self, name: str, onnx: str, profile: Any, level: int | None, needs: float) -> None:
        with self.part(f"build {name}"):
            self.need(needs)
            if self.plan(name).exists():
                return
            seconds = build(self.trt, onnx, profile, self.plan(name), level)
            size = self.plan(name).stat().st_size / 1e6
            self.say(f"build {name}", f"parses; built in {seconds:.1f} s at level {level or 3}, {size:.1f} MB")

    def build_encoder(self, batch: int) -> None:
        shapes = {"mel": ((batch, 80, 3000),) * 3}
        self.built(f"encoder{batch}", "whisper_tiny_en_encoder-fp16.onnx", shapes, self.options.level, 40)

    def build_decoder(self, name: str, batch: int, past: tuple[int, int, int]) -> None:
        shapes = decoder_profile((batch,) * 3, (1, 1, 1), past)
        self.built(name, "whisper_tiny_en_decoder-fp16.onnx", shapes, self.options.level, 60)

    def whisper(self, batch: int) -> None:
        """A step's CUDA graph is of fixed shapes, as a compiled model is, and so is its engine."""
        self.build_encoder(batch)
        side = Speech(self.trt, self.references)
        workloads = {w: WORKLOADS[w] for w in WORKLOADS if w.split()[0] == str(batch)}
        fixed = {w: f"decoder{batch}-{window(self.references.steps(clips))}" for w, clips in workloads.items()}
        if "plain" in self.ways:
            self.build_decoder(f"decoder{batch}", batch, (LEAST, 64, WIDEST))
        if "graph" in self.ways:
            for name in dict.fromkeys(fixed.values()):
                self.build_decoder(name, batch, (int(name.partition("-")[2]),) * 3)
            if batch == 1:
                self.check_whisper(side, fixed["1 short"])
        for workload, clips in workloads.items():
            decoders = {"plain": f"decoder{batch}", "graph": fixed[workload]}

            def encoder(way: str, clips: tuple[str, ...] = clips) -> Any:
                return side.encoder(self.read(f"encoder{batch}"), clips, way == "graph")

            def whole(way: str, clips: tuple[str, ...] = clips, decoders: dict[str, str] = decoders) -> Any:
                return side.whisper(self.read(f"encoder{batch}"), self.read(decoders[way]), clips, way == "graph")

            self.compare("whisper", workload, self.ours(whole))
            if workload != "1 long":
                self.compare("encoder", workload, self.ours(encoder))

    def ours(self, make: Callable[[str], Any]) -> dict[str, Callable[[], Any]]:
        """TensorRT's contenders, by what they are called in the table."""
        return {f"TensorRT{' graph' * (way == 'graph')}": functools.partial(make, way) for way in self.ways}

    def read(self, name: str) -> bytes:
        self.need(5)
        return self.plan(name).read_bytes()

    def check_whisper(self, side: Speech, decoder: str) -> None:
        """What the plans of fixed shapes give: some logits of two recordings, the text of all but the long one."""
        for clip in CHECKED:
            with self.part(f"logits {clip}"):
                plans = self.read("encoder1"), self.read(decoder)
                want = self.references[f"logits/{clip}"]
                error = np.abs(side.logits(*plans, clip) - want).max(1)
                share, largest = error.max() / np.abs(want).max(), np.abs(want).max()
                text = (
                    f"largest difference {error.max():.4f}, logits up to {largest:.1f}: {share:.2e} of that; by step "
                )
                self.say(f"logits {clip}", text + " ".join(f"{e:.4f}" for e in error), share=float(share))
        for clip in RECORDINGS:
            with self.part(f"text {clip}"):
                found = side.whisper(self.read("encoder1"), self.read(decoder), (clip,), True)()[0]
                same = found == self.references[f"tokens/{clip}"].tolist()
                self.say(f"text {clip}", f"{'identical to' if same else 'DIFFERS from'} ONNX Runtime's: {found}")

    def ctc(self, batch: int) -> None:
        """A CUDA graph is of one length, and so is its engine."""
        side = Speech(self.trt, self.references)
        workloads = {w: WORKLOADS[w] for w in WORKLOADS if w.split()[0] == str(batch)}
        lengths = {w: self.references.waves(clips)[0].shape[1] for w, clips in workloads.items()}
        if "plain" in self.ways:
            self.build_ctc(f"ctc{batch}", batch, (8000, 160000, 480000))
        if "graph" in self.ways:
            for length in lengths.values():
                self.build_ctc(f"ctc{batch}-{length}", batch, (length,) * 3)
            if batch == 1:
                self.check_ctc(side, f"ctc1-{lengths['1 short']}", "dashwood")
        for workload, clips in workloads.items():
            plans = {"plain": f"ctc{batch}", "graph": f"ctc{batch}-{lengths[workload]}"}

            def whole(way: str, clips: tuple[str, ...] = clips, plans: dict[str, str] = plans) -> Any:
                return side.ctc(self.read(plans[way]), clips, way == "graph")[0]

            self.compare("ctc", workload, self.ours(whole))

    def build_ctc(self, name: str, batch: int, lengths: tuple[int, int, int]) -> None:
        shapes = {
            "waveform": tuple((batch, length) for length in lengths),
            "waveform_lengths": ((batch,),) * 3,
        }
        self.built(name, "phoneme_ctc-fp16.onnx", shapes, self.options.ctc_level, 60)

    def check_ctc(self, side: Speech, plan: str, clip: str) -> None:
        with self.part(f"log_probs {clip}"):
            call, log_probs, lengths = side.ctc(self.read(plan), (clip,), False)
            same = greedy_labels(call(), lengths)[0] == self.references[f"labels/{clip}"].tolist()
            want = self.references[f"log_probs/{clip}"]
            error = np.abs(log_probs[0].cpu().numpy() - want).max()
            text = f"largest difference {error:.4f}, of {np.abs(want).max():.1f}; labels identical: {same}"
            self.say(f"log_probs {clip}", text)

    def compare(self, model: str, workload: str, made: dict[str, Callable[[], Callable[[], Any]]]) -> None:
        """Time all contenders in turn, and print each one's times and its ratio to TensorRT's best."""
        import torch

        clips, key = WORKLOADS[workload], f"{model} {workload}"
        kind = {"whisper": "tokens", "ctc": "labels"}.get(model)
        want = [self.references[f"{kind}/{name}"].tolist() for name in clips] if kind else None
        timers: dict[str, Callable[[], float]] = {}
        for name, make in made.items():
            with self.part(f"{key} {name}"):
                self.need(5)
                call = make()
                for _ in range(4):
                    result = call()
                if model == "ctc":
                    result = greedy_labels(result, self.references.waves(clips)[1])
                self.agree(f"{key} {name}", result, want)
                timers[name] = lambda call=call: timed(torch, call)
        ways = self.options.ways.split(",")
        for way in ways:  # may grow on the way
            with self.part(f"{key} {way}"):
                self.need(10)
                if self.server is None:
                    self.server = _Server(self.options.torch_python, self.options.references, self.options.plans)
                name = f"{key} {way}"
                request = {"name": name, "model": model, "workload": workload, "way": way}
                try:
                    answer = self.server.ask({"make": request}, min(self.left(), 180))
                except (TimeoutError, OSError):
                    self.server = None  # a new one for the next contender
                    raise
                self.agree(name, answer["answer"], want)
                if answer["cudagraph_skips"]:
                    self.say(f"{name} skips", f"{answer['cudagraph_skips']} CUDA graphs were skipped: see torch.log")
                    if "compile-graph" not in ways:
                        ways.append("compile-graph")
                print(f"    {name}: ready in {answer['seconds']:.1f} s", flush=True)
                server = self.server
                timers[way] = lambda name=name, server=server: server.ask({"time": name}, 60)
        times: dict[str, list[float]] = {name: [] for name in timers}
        order = list(timers)
        until = time.monotonic() + self.options.seconds
        with self.part(key):
            self.need(2)
            for turn in range(self.options.repeat):
                if turn >= 8 and time.monotonic() > until:
                    break
                for name in order[turn % len(order) :] + order[: turn % len(order)]:
                    times[name].append(timers[name]())
        with self.part(f"{key} figures"):
            times = {name: found for name, found in times.items() if len(found) > 1}
            self.tell(key, self.references.seconds(clips), times)

    def agree(self, key: str, result: Any, want: list[list[int]] | None) -> None:
        if want is not None and result != want:
            odd = sum(a != b for a, b in zip(result, want, strict=True))
            self.say(f"{key} answers", f"{odd} of {len(want)} differ from ONNX Runtime's: {result if odd < 3 else ''}")

    def tell(self, key: str, seconds: float, times: dict[str, list[float]]) -> None:
        ours = [name for name in times if name.startswith("TensorRT")]
        best = min(ours or times, key=lambda name: statistics.median(times[name]))
        for name, found in times.items():
            low, middle, high = statistics.quantiles(found, n=4)
            ratios = statistics.quantiles([a / b for a, b in zip(found, times[best], strict=False)], n=4)
            text = (
                f"{middle:.3f} ms ({low:.3f} to {high:.3f}), {seconds / middle * 1e3:.0f} s of audio per s; "
                f"{ratios[1]:.2f} ({ratios[0]:.2f} to {ratios[2]:.2f}) times {best}'s time, {len(found)} runs"
            )
            self.say(f"{key} | {name}", text, ms=found, audio_seconds=seconds, ratios=ratios, against=best)
