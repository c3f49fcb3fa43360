"""Recognise speech: audio files in, phonemes and text out, through TensorRT engines.

Write TensorRT 10's API and PyCUDA. Import torch, torchaudio and soundfile inside the functions that need them.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycuda.autoinit  # makes the CUDA context that everything below needs
import pycuda.driver as cuda
import tensorrt as trt

RATE = 16000
WINDOW_SAMPLES = 30 * RATE  # what Whisper's encoder takes at a time
MOST_TOKENS = 224  # of one window's text: half of the decoder's context
CACHE = ("keys", "values")
LOGGER = trt.Logger(trt.Logger.ERROR)

Shape = tuple[int, ...]


class AudioError(ValueError):
    """Raised for a file that holds no usable sound. Its text names the file and says what is wrong."""


def load_audio(path: str) -> np.ndarray:
    """Read a WAV or FLAC file as the models want it: 16 kHz, mono, float32.

    Files are of any rate and any number of channels, of 8 to 32 bits or floating point. Integers become fractions of
    full scale, channels are averaged. What the new rate cannot hold (8 kHz and more) is filtered out, not folded back.
    Raises FileNotFoundError where there is no file, and AudioError where it is empty, cut off or not audio, has no
    samples or some that are not finite, or where the average of its channels is silent: never louder than 1e-4.

    Args:
        path: the file. Its name's ending says nothing.

    Returns:
        float32 [samples], of ceil(frames * 16000 / rate) samples, C-contiguous.
    """
    import soundfile
    import torch
    import torchaudio

    data = Path(path).read_bytes()
    # A WAV file says how long it is meant to be; libsndfile takes what is there without a word.
    if data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise AudioError(f"{path} is cut off: {len(data)} bytes, not {int.from_bytes(data[4:8], 'little') + 8}")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.SoundFileError as error:
        raise AudioError(f"{path} is no audio file, or a damaged one: {error}") from error
    if not len(samples):
        raise AudioError(f"{path} has no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} has samples that are no finite numbers")
    mono = samples.mean(axis=1)
    if np.abs(mono).max() <= 1e-4:  # -80 dB of full scale
        raise AudioError(f"{path} is silent")
    resampled = torchaudio.functional.resample(torch.from_numpy(mono), rate, RATE)
    return np.ascontiguousarray(resampled.numpy())


def build_engine(onnx_path: str, shapes: Mapping[str, tuple[Shape, Shape, Shape]]) -> bytes:
    """Build a TensorRT plan of an ONNX model whose inputs have several dynamic dimensions.

    Raises ValueError where TensorRT cannot parse the file (the text holds the parser's first error), where ``shapes``
    lacks a dynamic input or names one that is not there (the text names it), or where no engine can be built for them.

    Args:
        onnx_path: the model.
        shapes: for each input with dynamic dimensions, its smallest, usual and largest shape.

    Returns:
        The serialized plan, with one optimization profile. Precision is the graph's; float32 is so without TF32.
    """
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(Path(onnx_path).read_bytes()):
        raise ValueError(f"TensorRT cannot parse {onnx_path}: {parser.get_error(0).desc()}")
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if missing := [tensor.name for tensor in inputs if -1 in tuple(tensor.shape) and tensor.name not in shapes]:
        raise ValueError(f"the shapes of {', '.join(missing)} are dynamic, and none were given")
    if unknown := shapes.keys() - {tensor.name for tensor in inputs}:
        raise ValueError(f"{onnx_path} has no input {', '.join(sorted(unknown))}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    for name, (low, usual, high) in shapes.items():
        profile.set_shape(name, low, usual, high)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ValueError(f"TensorRT could not build {onnx_path} for {dict(shapes)}: see its log")
    return bytes(plan)


def recognize_phonemes(plan: bytes, waveforms: Sequence[np.ndarray]) -> list[list[int]]:
    """Run the phoneme engine on clips of different lengths, in as few runs as its profile allows, and decode greedily.

    Raises ValueError where TensorRT cannot load the plan, or a clip is shorter or longer than its profile allows.

    Args:
        plan: a serialized plan, of one profile; what goes in and out is in README.md.
        waveforms: float32 [samples], 16 kHz, each of its own length; perhaps none.

    Returns:
        For each clip, in the order given, its labels: the best of each frame, repeats made one, and then without
        blanks. What else is in the call makes no difference to a clip. All device memory is freed.
    """
    engine = _loaded(plan)
    context = engine.create_execution_context()
    low, _, high = (tuple(shape) for shape in engine.get_tensor_profile_shape("waveform", 0))
    for number, clip in enumerate(waveforms):
        if not low[1] <= len(clip) <= high[1]:
            raise ValueError(f"clip {number} has {len(clip)} samples, the engine takes {low[1]} to {high[1]}")
    found = []
    for start in range(0, len(waveforms), high[0]):
        clips = waveforms[start : start + high[0]]
        lengths = np.array([len(clip) for clip in clips], np.int32)
        padded = np.zeros((len(clips), lengths.max()), np.float32)
        for row, clip in zip(padded, clips, strict=True):
            row[: len(clip)] = clip
        outputs = _run(context, {"waveform": padded, "waveform_lengths": lengths})
        for log_probs, frames in zip(outputs["log_probs"], outputs["out_lengths"], strict=True):
            found.append(_collapsed(log_probs[:frames].argmax(axis=1), blank=log_probs.shape[1] - 1))
    return found


def beam_search(log_probs: np.ndarray, blank: int, width: int) -> list[int]:
    """Find the text that is likeliest over all of its CTC paths, by a prefix beam search without a language model.

    Args:
        log_probs: float32 or float64 [time, labels], natural logarithms; -inf where a label cannot be.
        blank: the label that stands for none.
        width: how many texts are kept after each frame. Where that is all of them, the search is exact.

    Returns:
        The text's labels.
    """
    # Text: log-probabilities of its paths that end in a blank, and of those that do not.
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    for frame in np.asarray(log_probs, np.float64):
        # Others cannot come among the best: from each text, so many better ones are reached.
        likely = {*np.argsort(-frame)[: width + 2].tolist(), *(text[-1] for text in beams if text)} - {blank}
        longer: dict[tuple[int, ...], list[float]] = {}
        for text, (blanked, open_) in beams.items():
            whole = np.logaddexp(blanked, open_)
            _add(longer, text, 0, whole + frame[blank])
            for label in likely:
                repeated = bool(text) and label == text[-1]
                if repeated:  # without a blank between them they are one
                    _add(longer, text, 1, open_ + frame[label])
                _add(longer, (*text, label), 1, (blanked if repeated else whole) + frame[label])
        best = sorted(longer, key=lambda text: -np.logaddexp(*longer[text]))[:width]
        beams = {text: (longer[text][0], longer[text][1]) for text in best}
    return list(next(iter(beams)))


def to_words(phonemes: Sequence[str], lexicon: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """Look up the words that were heard, each by the pronunciation that comes closest.

    Args:
        phonemes: of one clip; "<wb>" stands between words, perhaps several times, and perhaps at either end.
        lexicon: each word's pronunciations, of one phoneme or more.

    Returns:
        For each word that was heard, the one whose pronunciation takes the fewest insertions, deletions and
        substitutions; of several, the one that comes first in the lexicon.
    """
    heard: list[list[str]] = [[]]
    for phoneme in phonemes:
        if phoneme == "<wb>":
            heard.append([])
        else:
            heard[-1].append(phoneme)
    return [min(lexicon, key=functools.partial(_distance, lexicon, sounds)) for sounds in heard if sounds]


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Whisper's features of the first 30 s of a clip, with torchaudio.

    Args:
        waveform: float32 [samples], 16 kHz. What becomes of it, step by step, is in README.md.

    Returns:
        float32 [80, 3000], C-contiguous.
    """
    import torch
    import torchaudio

    signal = torch.zeros(WINDOW_SAMPLES, dtype=torch.float64)  # float32 rounds what is 80 dB below the loudest
    signal[: len(waveform)] = torch.from_numpy(np.array(waveform[:WINDOW_SAMPLES], np.float64))
    mel = torchaudio.transforms.MelSpectrogram(
        RATE, n_fft=400, hop_length=160, n_mels=80, f_min=0.0, f_max=8000.0, norm="slaney", mel_scale="slaney"
    )
    logs = mel.double()(signal)[:, :-1].clamp(min=1e-10).log10()
    logs = torch.maximum(logs, logs.max() - 8)
    return np.ascontiguousarray(((logs + 4) / 4).float().numpy())


def transcribe(encoder: bytes, decoder: bytes, tokenizer: dict[str, Any], waveforms: Sequence[np.ndarray]) -> list[str]:
    """Run Whisper on clips of up to 30 s, as many at a time as the engines' profiles allow, and decode greedily.

    Args:
        encoder: its plan, of one profile; what goes in and out of both is in README.md.
        decoder: its plan; it keeps a cache, so each token goes in once.
        tokenizer: the vocabulary and the model's rules, which README.md tells one by one.
        waveforms: float32 [samples], 16 kHz, of different lengths; perhaps none.

    Returns:
        For each clip, in the order given, its text without special tokens and blanks at the ends, of 224 tokens at
        most. What else is in the call makes no difference to a clip. All device memory is freed.
    """
    engines = {"mel": _loaded(encoder), "tokens": _loaded(decoder)}
    most = min(engine.get_tensor_profile_shape(name, 0)[2][0] for name, engine in engines.items())
    contexts = [engine.create_execution_context() for engine in engines.values()]
    texts: list[str] = []
    for start in range(0, len(waveforms), most):
        mels = np.stack([log_mel(waveform) for waveform in waveforms[start : start + most]])
        texts += (_text(tokens, tokenizer) for tokens in _greedy(*contexts, tokenizer, mels))
    return texts


def transcribe_long(encoder: bytes, decoder: bytes, tokenizer: Mapping[str, Any], waveform: np.ndarray) -> str:
    """Transcribe a clip of any length in windows of 30 s at most, none of which begins or ends within a word.

    Args:
        encoder:, decoder:, tokenizer: as `transcribe` takes them.
        waveform: float32 [samples], 16 kHz. There is a pause of 0.2 s between words in any 10 s.

    Returns:
        The text, each word once, with one blank between windows.
    """
    windows = []
    while len(waveform) > WINDOW_SAMPLES:
        # The quietest 0.2 s of the window's last 10: a pause between words, not within one.
        tail = np.square(waveform[WINDOW_SAMPLES - 10 * RATE : WINDOW_SAMPLES], dtype=np.float64)
        loudness = np.convolve(tail, np.ones(RATE // 5), mode="valid")
        cut = WINDOW_SAMPLES - 10 * RATE + int(loudness.argmin()) + RATE // 10
        windows.append(waveform[:cut])
        waveform = waveform[cut:]
    return " ".join(filter(None, transcribe(encoder, decoder, tokenizer, [*windows, waveform])))


# -- private to part one


def _distance(lexicon: Mapping[str, Sequence[Sequence[str]]], heard: Sequence[str], word: str) -> int:
    return min(_edits(heard, way) for way in lexicon[word])


def _collapsed(labels: np.ndarray, blank: int) -> list[int]:
    """CTC's rule: repeats become one first, since a blank between two equal labels keeps them apart."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    return [int(label) for label in labels[starts] if label != blank]


def _add(texts: dict[tuple[int, ...], list[float]], text: tuple[int, ...], end: int, log_prob: float) -> None:
    """Add a path's probability to those of a text: several texts of the beam may lead to the same one."""
    ends = texts.setdefault(text, [-np.inf, -np.inf])
    ends[end] = float(np.logaddexp(ends[end], log_prob))


def _edits(heard: Sequence[str], way: Sequence[str]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(way) + 1))
    for i, phoneme in enumerate(heard, 1):
        diagonal, row[0] = row[0], i
        for j, wanted in enumerate(way, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (phoneme != wanted))
    return row[-1]


# -- private to part two


def _greedy(encoder: Any, decoder: Any, tokenizer: Mapping[str, Any], mels: np.ndarray) -> list[list[int]]:
    """The tokens of each clip, without prompt and end."""
    stream, batch, prompt = cuda.Stream(), len(mels), tokenizer["prompt"]
    cross = _encoded(encoder, mels, stream)
    for name, memory in cross.items():
        decoder.set_input_shape(name, encoder.get_tensor_shape(name))
        decoder.set_tensor_address(name, int(memory))
    blocks, _, heads, past, size = decoder.engine.get_tensor_profile_shape("past_keys", 0)[0]
    dtype = trt.nptype(decoder.engine.get_tensor_dtype("past_keys"))
    vocabulary = decoder.engine.get_tensor_shape("logits")[2]
    # One pair of caches is read while the other, longer by the new tokens, is written; then they change places.
    cache = cuda.pagelocked_zeros((blocks, batch, heads, past, size), dtype)
    capacity = blocks * batch * heads * (past + len(prompt) + MOST_TOKENS) * size * np.dtype(dtype).itemsize
    read, written = ([cuda.mem_alloc(capacity) for _ in CACHE] for _ in range(2))
    for memory in read if past else ():
        cuda.memcpy_htod_async(memory, cache, stream)
    tokens = _pinned(np.int32, batch * len(prompt))
    positions = _pinned(np.int32, len(prompt))
    logits = _pinned(np.float32, batch * len(prompt) * vocabulary)
    for name, buffer in (("tokens", tokens), ("positions", positions), ("logits", logits)):
        decoder.set_tensor_address(name, int(buffer[1]))

    new, place = np.tile(np.array(prompt, np.int32), (batch, 1)), 0
    texts = np.empty((batch, 0), np.int32)
    while texts.shape[1] < MOST_TOKENS and not (texts == tokenizer["end"]).any(axis=1).all():
        count = new.shape[1]
        decoder.set_input_shape("tokens", new.shape)
        decoder.set_input_shape("positions", (count,))
        _send(tokens, new, stream)
        _send(positions, np.arange(place, place + count, dtype=np.int32), stream)
        for part, old, longer in zip(CACHE, read, written, strict=True):
            decoder.set_input_shape(f"past_{part}", (blocks, batch, heads, past, size))
            decoder.set_tensor_address(f"past_{part}", int(old))
            decoder.set_tensor_address(f"present_{part}", int(longer))
        if not decoder.execute_async_v3(stream.handle):
            raise RuntimeError("TensorRT could not enqueue the decoder: see its log")
        scores = _fetch(logits, (batch, count, vocabulary), stream)[:, -1]
        scores[:, tokenizer["suppressed"]] = -np.inf
        scores[:, tokenizer["first_timestamp"] :] = -np.inf
        if place == 0:
            scores[:, tokenizer["suppressed_first"]] = -np.inf
        new = scores.argmax(axis=1).astype(np.int32)[:, np.newaxis]
        texts = np.concatenate([texts, new], axis=1)
        place, past = place + count, past + count
        read, written = written, read
    return [list(itertools.takewhile(lambda token: token != tokenizer["end"], text)) for text in texts.tolist()]


def _encoded(context: Any, mels: np.ndarray, stream: cuda.Stream) -> dict[str, cuda.DeviceAllocation]:
    """Device memory with the encoder's outputs, by their names."""
    if not context.set_input_shape("mel", mels.shape):
        raise ValueError(f"mel {mels.shape} is outside the encoder's profile")
    mel = _pinned(np.float32, mels.size)
    context.set_tensor_address("mel", int(mel[1]))
    _send(mel, mels, stream)
    outputs = {}
    for name in ("cross_keys", "cross_values"):
        itemsize = np.dtype(trt.nptype(context.engine.get_tensor_dtype(name))).itemsize
        outputs[name] = cuda.mem_alloc(math.prod(context.get_tensor_shape(name)) * itemsize)
        context.set_tensor_address(name, int(outputs[name]))
    if not context.execute_async_v3(stream.handle):
        raise RuntimeError("TensorRT could not enqueue the encoder: see its log")
    stream.synchronize()  # before the memory of the features is freed
    return outputs


def _pinned(dtype: type, count: int) -> tuple[np.ndarray, cuda.DeviceAllocation]:
    """Pinned host memory for so many numbers, and device memory of the same size."""
    host = cuda.pagelocked_empty(count, dtype)
    return host, cuda.mem_alloc(host.nbytes)


def _send(pinned: tuple[np.ndarray, cuda.DeviceAllocation], array: np.ndarray, stream: cuda.Stream) -> None:
    """Enqueue a copy to the device. What was sent before must have been waited for."""
    host = pinned[0][: array.size]
    host[...] = array.ravel()
    cuda.memcpy_htod_async(pinned[1], host, stream)


def _fetch(pinned: tuple[np.ndarray, cuda.DeviceAllocation], shape: Shape, stream: cuda.Stream) -> np.ndarray:
    """Wait for the stream, and return what the device memory has then; good until the next call."""
    host = pinned[0][: math.prod(shape)]
    cuda.memcpy_dtoh_async(host, pinned[1], stream)
    stream.synchronize()
    return host.reshape(shape)


def _text(tokens: Sequence[int], tokenizer: Mapping[str, Any]) -> str:
    written = "".join(tokenizer["vocabulary"][token] for token in tokens)
    # All bytes first: a character may be split between two tokens.
    return bytes(map(_bytes_of_gpt2().__getitem__, written)).decode("utf-8", errors="replace").strip()


@functools.cache
def _bytes_of_gpt2() -> dict[str, int]:
    """The byte that each character of GPT-2's vocabulary stands for: bytes that do not print are moved."""
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = [byte for byte in range(256) if byte not in printing]
    return {chr(byte): byte for byte in printing} | {chr(256 + index): byte for index, byte in enumerate(moved)}


# -- private to both parts


def _loaded(plan: bytes) -> Any:
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
    if engine is None:
        raise ValueError("TensorRT cannot load this plan: it is damaged, or another version's")
    return engine


def _run(context: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All outputs of one run by their names, as arrays of their own; ValueError for a shape outside the profile."""
    engine, stream = context.engine, cuda.Stream()
    for name, array in inputs.items():
        if not context.set_input_shape(name, array.shape):
            raise ValueError(f"{name} {array.shape} is outside the engine's profile")
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    hosts, devices = {}, []
    for name in names:
        hosts[name] = cuda.pagelocked_empty(
            tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name))
        )
        devices.append(cuda.mem_alloc(hosts[name].nbytes))
        context.set_tensor_address(name, int(devices[-1]))
        if name in inputs:
            hosts[name][...] = inputs[name]
            cuda.memcpy_htod_async(devices[-1], hosts[name], stream)
    if not context.execute_async_v3(stream.handle):
        raise RuntimeError("TensorRT could not enqueue the inference: see its log")
    for name, device in zip(names, devices, strict=True):
        if name not in inputs:
            cuda.memcpy_dtoh_async(hosts[name], device, stream)
    stream.synchronize()
    return {name: np.array(host) for name, host in hosts.items() if name not in inputs}
