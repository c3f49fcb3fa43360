"""What is asked of an answer to c2_speech_recognition: audio files in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grader.fixtures.speech.audio_files import FORMS, Sound, written
from grader.judging.judge import array, expect_raises, fail
from grader.plugin import Call
from grader.processes.candidate import GivenFile, GivenPath

RATE = 16000
IMPORT_S = 60  #: for a call that may be the first to import PyTorch
WITHIN = 3e-3  # of full scale, for sounds up to 2.5 kHz: torchaudio's resampling is within 1.8e-3 of the formula
FOLDED = 0.01  # of what no sound at 16 kHz can hold, a fiftieth may be left
RATES = (8000, 11025, 22050, 32000, 44100, 48000)


# -- any file becomes 16 kHz, mono, float32


@pytest.mark.task("load")
@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_of_file_is_read_as_fractions_of_full_scale(call: Call, rng, form: str) -> None:
    sound = Sound.draw(rng, RATE)
    _sounds_like(_loaded(call, sound.file(form), form), sound, form, within=1.1 * 2.0 ** (1 - FORMS[form][2]) + 1e-6)


@pytest.mark.task("load")
@pytest.mark.parametrize("rate", RATES)
def test_every_rate_becomes_16_khz(call: Call, rng, rate: int) -> None:
    sound = Sound.draw(rng, rate)
    _sounds_like(_loaded(call, sound.file(), f"{rate} Hz"), sound, f"{rate} Hz", within=WITHIN)


@pytest.mark.task("load")
@pytest.mark.parametrize("channels", [2, 5])
def test_channels_are_averaged(call: Call, rng, channels: int) -> None:
    sound = Sound.draw(rng, RATE, channels)
    what = f"{channels} channels"
    _sounds_like(_loaded(call, sound.file("WAV of 24 bits"), what), sound, what, within=1e-4)


@pytest.mark.task("load")
@pytest.mark.parametrize("rate", [32000, 44100, 48000])
def test_what_16_khz_cannot_hold_is_filtered_out(call: Call, rng, rate: int) -> None:
    sound = Sound.draw(rng, rate, low=10500, high=15000)
    what = f"{rate} Hz with tones above 10 kHz"
    left = float(np.abs(_samples(_loaded(call, sound.file(), what), sound, what)).max())
    if left > FOLDED:
        fail(f"the result of load_audio ({what}) is {left:.2g} loud: filter before samples go, or it folds back")


def _loaded(call: Call, data: bytes, what: str) -> Any:
    """Files have a name that says nothing."""
    return call("load_audio", GivenFile(f"{what.replace(' ', '-')}.audio", data), seconds=IMPORT_S).value


def _samples(value: Any, sound: Sound, what: str) -> np.ndarray:
    want = sound.at(RATE)
    if isinstance(value, np.ndarray) and value.shape == (sound.frames,) != (len(want),):
        fail(f"the result of load_audio ({what}) has the file's {sound.frames} samples: it is to be at 16 kHz")
    return array(value, f"the result of load_audio ({what})", dtype="float32", shape=(len(want),))


def _sounds_like(value: Any, sound: Sound, what: str, *, within: float) -> None:
    got, every = _samples(value, sound, what).astype(np.float64), sound.at(RATE)
    want = every.mean(axis=1)
    error = np.abs(got - want).max()
    if error <= within:
        return
    scale = float(got @ want / (want @ want))
    guesses = {
        "it is the first channel, not the average of all": np.abs(got - every[:, 0]).max(),
        "it is the sum of the channels, not their average": np.abs(got - every.sum(axis=1)).max(),
        f"it is {scale:.3g} times as loud (integers are to become fractions of full scale)": (
            np.abs(got / scale - want).max() if abs(scale - 1) > 0.1 else np.inf
        ),
    }
    tail = next((f": {words}" for words, left in guesses.items() if left <= 2 * within), "")
    fail(f"the result of load_audio ({what}) is off by {error:.2g} of full scale, {within:.2g} is allowed{tail}")


# -- files without sound


@pytest.fixture
def good(call: Call, rng: np.random.Generator) -> Sound:
    """A sound whose file loads: only beside it is an error worth anything. It is as soft as one may be."""
    sound = Sound.draw(rng, RATE)
    samples = sound.at(RATE) / 600  # at most 1e-3 loud, at least 1.6e-4
    got = _samples(_loaded(call, written(samples, RATE, "WAV of 24 bits"), "a soft one"), sound, "a soft one")
    if np.abs(got - samples[:, 0]).max() > 1e-5:
        fail("the result of load_audio (a soft one) is not what the file holds")
    return sound


@pytest.mark.task("load-errors")
@pytest.mark.parametrize("kind", ["nothing", "words", "no samples", "cut off WAV", "cut off floats", "cut off FLAC"])
def test_a_file_that_holds_no_sound_is_an_audio_error(call: Call, good: Sound, rng, kind: str) -> None:
    if kind == "nothing":
        data = b""
    elif kind == "words":
        data = b"these are words, nobody says them\n" * 40
    elif kind == "no samples":
        data = written(np.zeros((0, 1)), RATE, "WAV of 16 bits")
    else:
        form = {"WAV": "WAV of 16 bits", "floats": "WAV of floats", "FLAC": "FLAC of 16 bits"}[kind.split()[-1]]
        whole = good.file(form)
        data = whole[: int(len(whole) * rng.uniform(0.3, 0.9))]
    _is_refused(call, kind, data)


@pytest.mark.task("load-errors")
@pytest.mark.parametrize("kind", ["zeros", "dither", "opposite channels", "not a number"])
def test_samples_that_are_no_sound_are_an_audio_error(call: Call, good: Sound, rng, kind: str) -> None:
    samples = good.at(RATE)
    data = {
        "zeros": lambda: written(np.zeros_like(samples), RATE, "FLAC of 16 bits"),
        "dither": lambda: written(rng.integers(-2, 3, samples.shape) / 2**15, RATE, "WAV of 16 bits"),
        "opposite channels": lambda: written(np.hstack([samples, -samples]), RATE, "WAV of floats"),
        "not a number": lambda: written(_with_one(samples, rng, np.nan), RATE, "WAV of floats"),
    }[kind]()
    _is_refused(call, kind, data)


@pytest.mark.task("load-errors")
@pytest.mark.usefixtures("good")
def test_a_file_that_is_not_there_is_told_apart(call: Call) -> None:
    with expect_raises("FileNotFoundError", "load_audio of a path where nothing is"):
        call("load_audio", GivenPath("nothing-here.wav"), seconds=IMPORT_S)


def _is_refused(call: Call, kind: str, data: bytes) -> None:
    name = f"{kind.replace(' ', '-')}.audio"
    with expect_raises("AudioError", f"load_audio of a file that holds no sound ({kind})", name):
        call("load_audio", GivenFile(name, data), seconds=IMPORT_S)


def _with_one(samples: np.ndarray, rng: np.random.Generator, value: float) -> np.ndarray:
    changed = samples.copy()
    changed[rng.integers(len(changed))] = value
    return changed
