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
    raise NotImplementedError("write me")


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
    raise NotImplementedError("write me")


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
    raise NotImplementedError("write me")


def beam_search(log_probs: np.ndarray, blank: int, width: int) -> list[int]:
    """Find the text that is likeliest over all of its CTC paths, by a prefix beam search without a language model.

    Args:
        log_probs: float32 or float64 [time, labels], natural logarithms; -inf where a label cannot be.
        blank: the label that stands for none.
        width: how many texts are kept after each frame. Where that is all of them, the search is exact.

    Returns:
        The text's labels.
    """
    raise NotImplementedError("write me")


def to_words(phonemes: Sequence[str], lexicon: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """Look up the words that were heard, each by the pronunciation that comes closest.

    Args:
        phonemes: of one clip; "<wb>" stands between words, perhaps several times, and perhaps at either end.
        lexicon: each word's pronunciations, of one phoneme or more.

    Returns:
        For each word that was heard, the one whose pronunciation takes the fewest insertions, deletions and
        substitutions; of several, the one that comes first in the lexicon.
    """
    raise NotImplementedError("write me")


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Whisper's features of the first 30 s of a clip, with torchaudio.

    Args:
        waveform: float32 [samples], 16 kHz. What becomes of it, step by step, is in README.md.

    Returns:
        float32 [80, 3000], C-contiguous.
    """
    raise NotImplementedError("write me")


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
    raise NotImplementedError("write me")


def transcribe_long(encoder: bytes, decoder: bytes, tokenizer: Mapping[str, Any], waveform: np.ndarray) -> str:
    """Transcribe a clip of any length in windows of 30 s at most, none of which begins or ends within a word.

    Args:
        encoder:, decoder:, tokenizer: as `transcribe` takes them.
        waveform: float32 [samples], 16 kHz. There is a pause of 0.2 s between words in any 10 s.

    Returns:
        The text, each word once, with one blank between windows.
    """
    raise NotImplementedError("write me")
