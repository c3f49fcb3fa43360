"""The solution of c2 on whole recordings: what it hears, next to what was said and to ONNX Runtime."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from grader import tiers
from grader.course import SOLUTIONS
from grader.fixtures.speech.clips import Clip, clips
from grader.fixtures.speech.lexicon import lexicon, phoneme_errors
from grader.fixtures.speech.phoneme_ctc import WORD_BOUNDARY, greedy, vocabulary
from grader.fixtures.speech.plans import phoneme_plan, whisper_plans
from grader.fixtures.speech.private_cuts import reference_log_probs
from grader.fixtures.speech.private_speech import tokenizer
from grader.fixtures.speech.whisper_files import vocabulary as tokens
from grader.fixtures.speech.whisper_onnx import own_rules
from grader.fixtures.speech.words import edit_distance, normalise, word_error_rate
from grader.processes.candidate import Candidate, GivenFile
from grader.processes.runner import Runner

SECONDS = 300
CLEAN = [clip for clip in clips().values() if clip.snr_db is None]
LONG = 30  # seconds that Whisper hears at a time


@dataclass(frozen=True)
class Listener:
    """The solution in a worker of its own, with plans of the tier's TensorRT."""

    candidate: Candidate
    runner: Runner

    def load(self, clip: Clip) -> np.ndarray:
        given = GivenFile(clip.path.name, clip.path.read_bytes())
        return self.candidate.call("load_audio", given, seconds=SECONDS).value

    def texts(self, heard: list[Clip]) -> list[str]:
        """By Whisper; clips of more than 30 s in windows."""
        plans = whisper_plans(self.runner, self.candidate.tier)
        given = plans.encoder, plans.decoder, tokenizer(own_rules(), tokens())
        short = [clip for clip in heard if clip.seconds <= LONG]
        waves = [self.load(clip) for clip in short]
        found = self.candidate.call("transcribe", *given, waves, seconds=SECONDS).value
        by_name = dict(zip((clip.name for clip in short), found, strict=True))
        for clip in heard:
            if clip.seconds > LONG:
                by_name[clip.name] = self.candidate.call(
                    "transcribe_long", *given, self.load(clip), seconds=SECONDS
                ).value
        return [by_name[clip.name] for clip in heard]


@pytest.fixture(scope="module", params=["twin", pytest.param("gpu", marks=pytest.mark.gpu)])
def listener(request: pytest.FixtureRequest) -> Iterator[Listener]:
    tier, key = tiers.choose(request.param), secrets.token_bytes(32)
    runner = Runner(tier, key)
    solution = SOLUTIONS / "c2_speech_recognition" / "solution.py"
    with Candidate(solution, tier, key) as candidate:
        yield Listener(candidate, runner)
    runner.close()


@pytest.mark.frameworks
def test_whisper_has_at_most_one_word_in_twenty_wrong(listener: Listener) -> None:
    heard = listener.texts(CLEAN)

    errors = words = 0
    for clip, text in zip(CLEAN, heard, strict=True):
        wanted = normalise(clip.text)
        errors, words = errors + edit_distance(wanted, normalise(text)), words + len(wanted)
        print(f"{clip.name}: {100 * word_error_rate(clip.text, text):.1f} % of the words wrong: {text}")
    print(f"all: {errors} of {words}, {100 * errors / words:.1f} %")
    assert errors <= 0.05 * words


@pytest.mark.frameworks
def test_the_phonemes_are_as_good_as_onnx_runtimes(listener: Listener) -> None:
    heard = [clip for clip in CLEAN if clip.seconds <= LONG]
    waves, ways, labels = [listener.load(clip) for clip in heard], lexicon(), vocabulary()
    plan = phoneme_plan(listener.runner, listener.candidate.tier)
    ours = listener.candidate.call("recognize_phonemes", plan, waves, seconds=SECONDS).value
    theirs = [greedy(reference_log_probs(wave)) for wave in waves]

    rates = []
    for who, found in (("solution", ours), ("ONNX Runtime", theirs)):
        wrong = said = 0
        for clip, sounds in zip(heard, found, strict=True):
            symbols = [labels[sound] for sound in sounds if labels[sound] != WORD_BOUNDARY]
            counts = phoneme_errors([ways[word] for word in clip.text.split()], symbols)
            wrong, said = wrong + counts[0], said + counts[1]
        rates.append(wrong / said)
        print(f"{who}: {wrong} of {said} phonemes wrong, {100 * wrong / said:.1f} %")
    assert abs(rates[0] - rates[1]) <= 0.01
