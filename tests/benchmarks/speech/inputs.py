"""What both sides are given: recordings, the answers of the float32 models to them, and how to decode."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RECORDINGS = ("dashwood", "ask_not", "respectable", "cold_hearted", "amiable", "ill_disposed")
CHECKED = ("dashwood", "ask_not")  #: whose logits are compared
LOGIT_STEPS = (0, 1, 2, 5, 10, 15, 20)
RATE, TOKENS, WIDEST = 16000, 51864, 256
PROMPT, END = (50257, 50362), 50256

#: Clips of each workload, by batch.
WORKLOADS = {
    "1 short": ("dashwood",),
    "1 long": ("long",),
    "16": tuple(RECORDINGS[i % len(RECORDINGS)] for i in range(16)),
}


def models() -> Path:
    """The cache's folder of models."""
    if chosen := os.environ.get("TRTPREP_CACHE"):  # always in the second process, whose Python may lack platformdirs
        return Path(chosen, "models")
    from grader.fixtures.cache import cache_dir

    return cache_dir() / "models"


def write_references(path: Path) -> None:
    """Waveforms, forbidden tokens, texts, some logits and CTC's labels, as float32 models give them."""
    import onnxruntime

    from grader.fixtures.speech import phoneme_ctc, whisper_files, whisper_onnx
    from grader.fixtures.speech.clips import clip, samples
    from grader.fixtures.speech.log_mel import log_mel

    waves = {name: samples(clip(name))[:, 0] for name in RECORDINGS}
    reading = samples(clip("reading"))[:, 0]
    frames = np.square(reading[26 * RATE : 30 * RATE - 320].reshape(-1, 320)[:, :]).sum(1)
    waves["long"] = reading[: 26 * RATE + 320 * int(frames.argmin())]
    forbidden = whisper_files.suppressed()
    encoder, decoder = whisper_onnx.reference("float32")
    labels = onnxruntime.InferenceSession(phoneme_ctc.phoneme_ctc_onnx("float32"), providers=["CPUExecutionProvider"])
    found: dict[str, Any] = {"always": np.array(forbidden.always), "first": np.array(forbidden.first)}
    for name, wave in waves.items():
        found[f"wave/{name}"] = wave
        mel = log_mel(wave)[None]
        text = whisper_onnx.transcribe(encoder, decoder, mel)[0]
        found[f"tokens/{name}"] = np.array(text, np.int32)
        given = {"waveform": wave[None], "waveform_lengths": np.array([len(wave)], np.int32)}
        log_probs = labels.run(["log_probs"], given)[0][0]
        found[f"labels/{name}"] = np.array(phoneme_ctc.greedy(log_probs), np.int32)
        if name in CHECKED:
            found[f"log_probs/{name}"] = log_probs
            keys, values = encoder.run(["cross_keys", "cross_values"], {"mel": mel})
            fed = np.array([[*PROMPT, *text]], np.int32)
            empty = np.zeros((4, 1, 6, 0, 64), np.float32)
            past = {"past_keys": empty, "past_values": empty, "cross_keys": keys, "cross_values": values}
            places = np.arange(fed.shape[1], dtype=np.int32)
            logits = decoder.run(["logits"], {"tokens": fed, "positions": places, **past})[0][0]
            found[f"logits/{name}"] = logits[[s for s in LOGIT_STEPS if s < len(logits)]]
        print(name, len(wave) / RATE, "s:", whisper_files.decode(text), flush=True)
    np.savez_compressed(path, **found)


class References:
    def __init__(self, path: Path) -> None:
        with np.load(path) as found:
            self._found = dict(found)
        self._mels: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._found[name]

    def mels(self, clips: tuple[str, ...]) -> np.ndarray:
        from grader.fixtures.speech.log_mel import log_mel

        for name in {*clips} - {*self._mels}:
            self._mels[name] = log_mel(self[f"wave/{name}"])
        return np.stack([self._mels[name] for name in clips])

    def waves(self, clips: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        waves = [self[f"wave/{name}"] for name in clips]
        lengths = np.array([len(wave) for wave in waves], np.int32)
        padded = np.zeros((len(waves), lengths.max()), np.float32)
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = wave
        return padded, lengths

    def seconds(self, clips: tuple[str, ...]) -> float:
        return sum(len(self[f"wave/{name}"]) for name in clips) / RATE

    def steps(self, clips: tuple[str, ...]) -> int:
        """Calls of the decoder: the prompt, token by token, and the text; the last call gives the end of text."""
        return len(PROMPT) + max(len(self[f"tokens/{name}"]) for name in clips)

    def biases(self) -> tuple[np.ndarray, np.ndarray]:
        """What is added to logits: right after the prompt, and later."""
        later = np.zeros(TOKENS, np.float32)
        later[self["always"]] = later[END + 107 :] = -np.inf  # the time stamps, from 50363 on
        first = later.copy()
        first[self["first"]] = -np.inf
        return first, later


def window(steps: int) -> int:
    """The length of a cache that does not grow."""
    return next(size for size in (32, 64, 128, WIDEST) if size >= steps)


class Decoding:
    """Greedy decoding. A side's step reads and writes `tokens` and reads `bias`, all on the GPU."""

    def __init__(self, references: References, clips: tuple[str, ...], integer: Any) -> None:
        import torch

        self.torch, self.clips, self.steps = torch, clips, references.steps(clips)
        self.batch = len(clips)
        self.tokens = torch.zeros(self.batch, 1, dtype=integer, device="cuda")
        self.first, self.later = (torch.from_numpy(bias).cuda() for bias in references.biases())
        self.bias = self.first.clone()

    def run(self, step: Callable[[int], None]) -> list[list[int]]:
        """The texts, of as many steps as the longest of the references."""
        self.tokens.fill_(PROMPT[0])
        self.bias.copy_(self.first)
        told = []
        for index in range(self.steps):
            step(index)
            if index == 0:
                self.tokens.fill_(PROMPT[1])
                continue
            if index == 1:
                self.bias.copy_(self.later)
            told.append(self.tokens[:, 0].tolist())  # waits for the GPU, as a program that looks for the end does
        texts = [list(text) for text in zip(*told, strict=True)]
        return [text[: text.index(END)] if END in text else text for text in texts]


def greedy_labels(best: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    found = []
    for row, waveform in zip(best, lengths, strict=True):
        row = row[: (int(waveform) // 160 + 2) // 2]
        kept = row[np.flatnonzero(np.diff(row, prepend=-1))]
        found.append([int(label) for label in kept if label != 190])
    return found


def timed(torch: Any, call: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) * 1e3


def captured(torch: Any, work: Callable[[], Any]) -> Callable[[], Any]:
    """Capture work into a CUDA graph; the result launches it, and returns what the work returned then."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()

    def replay(kept: Callable[[], Any] = work) -> Any:  # what the graph's kernels read must stay alive
        graph.replay()
        return result

    return replay
