"""What is asked of an answer to c2_speech_recognition: Whisper, from features to text."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest

from grader.fixtures.speech.log_mel import RATE
from grader.fixtures.speech.plans import MOST, WhisperPlans, whisper_plans
from grader.fixtures.speech.private_speech import (
    Long,
    Spoken,
    full_stop,
    long_reading,
    passage,
    piece,
    spoken_under_other_rules,
    text_of,
    tokenizer,
    up_to_full_stop,
)
from grader.fixtures.speech.whisper_files import PROMPT, vocabulary
from grader.fixtures.speech.whisper_onnx import Rules, own_rules
from grader.fixtures.speech.words import word_error_rate
from grader.judging.features import features_agree
from grader.judging.judge import fail
from grader.judging.transcripts import each_token_once, errors_within, heard_by, runs_of, same_text, texts
from grader.plugin import Call, Recorder
from grader.processes.candidate import Returned
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest

SECONDS = 90.0  #: for a call; each new length of the cache costs the twin time
ERROR_RATE = 0.05


@dataclass(frozen=True)
class Prepared:
    """Clips with their texts, and the engines that are to hear them."""

    engines: WhisperPlans
    spoken: Spoken
    other: tuple[np.ndarray, Rules, tuple[int, ...], list[str]]  #: a clip, rules, its tokens under these, vocabulary
    several: list[Spoken]


@pytest.fixture(scope="module")
def prepared(runner: Runner, tier: Tier, recorder: Recorder) -> Prepared:
    """The engine runner builds while the texts are found here: either takes seconds."""
    rng = np.random.default_rng([recorder.seed, 22])
    with ThreadPoolExecutor(1) as pool:
        engines = pool.submit(whisper_plans, runner, tier)
        spoken, other, several = piece(rng, 1, 2.2, parts=2), spoken_under_other_rules(rng), _several(rng)
        return Prepared(engines.result(), spoken, other, several)


@pytest.fixture(scope="module")
def engines(prepared: Prepared) -> WhisperPlans:
    return prepared.engines


def _several(rng: np.random.Generator) -> list[Spoken]:
    """Texts that a full stop ends, each after another number of tokens: a row that has ended would go on."""
    counts: set[int] = set()
    while len(counts) < 3:
        clips = [up_to_full_stop(rng, 1.3, 2), up_to_full_stop(rng, 2.5, 4), up_to_full_stop(rng, 1, 1.6, parts=2)]
        counts = {len(clip.tokens) for clip in clips}
    shortest, middle, longest = sorted(clips, key=lambda clip: len(clip.samples))
    # Whoever sorts them by their lengths, either way, has another order.
    outer = [(shortest, longest), (longest, shortest)][rng.integers(2)]
    return [[*outer, middle], [middle, *outer]][rng.integers(2)]


# -- features


@pytest.mark.task("features")
def test_features_are_the_models_own(call: Call, rng: np.random.Generator) -> None:
    clip = passage(rng, 1, 4)
    features_agree(call("log_mel", clip, seconds=SECONDS).value, clip)


@pytest.mark.task("features")
def test_what_is_nearly_silent_is_not_lost_below_the_floor(call: Call, rng: np.random.Generator) -> None:
    clip = (passage(rng, 1, 4) * 10 ** rng.uniform(-3, -2.5)).astype(np.float32)
    features_agree(call("log_mel", clip, seconds=SECONDS).value, clip, "of a very soft clip")


@pytest.mark.task("features")
def test_what_is_longer_than_half_a_minute_is_cut_off(call: Call, rng: np.random.Generator) -> None:
    clip = long_reading(rng).samples
    # In noise as loud as the speech: where it is softer, other rules of the features matter too.
    clip += rng.normal(scale=np.sqrt(np.mean(np.square(clip))), size=len(clip)).astype(np.float32)
    features_agree(call("log_mel", clip, seconds=SECONDS).value, clip, f"of {len(clip) / RATE:.1f} s")


# -- transcribe


@pytest.mark.task("transcribe")
def test_a_clip_becomes_its_text_and_each_token_goes_into_the_decoder_once(call: Call, prepared: Prepared) -> None:
    engines, spoken = prepared.engines, prepared.spoken
    given = tokenizer(own_rules(), vocabulary())
    transcribed = call("transcribe", engines.encoder, engines.decoder, given, [spoken.samples], seconds=SECONDS)
    (text,) = texts(transcribed.value, 1, "transcribe")
    same_text(text, spoken.text, "the text of a clip")
    heard_by(transcribed.evidence, digest(engines.encoder), [spoken.samples])
    if (count := len(runs_of(transcribed.evidence, digest(engines.encoder)))) > 1:
        fail(f"the encoder ran {count} times for one clip: its outputs serve all runs of the decoder")
    each_token_once(transcribed.evidence, digest(engines.decoder), len(PROMPT))


@pytest.mark.task("transcribe")
def test_rules_and_vocabulary_are_those_that_were_given(call: Call, prepared: Prepared) -> None:
    engines, (clip, rules, tokens, words) = prepared.engines, prepared.other
    given = tokenizer(rules, words)
    returned = call("transcribe", engines.encoder, engines.decoder, given, [clip], seconds=SECONDS)
    (text,) = texts(returned.value, 1, "transcribe")
    same_text(text, text_of(tokens, words), "the text under other rules (prompt, suppressed tokens, vocabulary)")


# -- several clips


@pytest.fixture(scope="module")
def several(prepared: Prepared) -> list[Spoken]:
    return prepared.several


@pytest.fixture(scope="module")
def transcribed_together(call: Call, engines: WhisperPlans, several: list[Spoken]) -> Returned:
    given = tokenizer(replace(own_rules(), end=full_stop()), vocabulary())
    clips = [clip.samples for clip in several]
    return call("transcribe", engines.encoder, engines.decoder, given, clips, seconds=SECONDS)


@pytest.mark.task("batch")
def test_clips_of_different_lengths_have_the_texts_that_they_have_alone(
    transcribed_together: Returned, several: list[Spoken], engines: WhisperPlans
) -> None:
    got = texts(transcribed_together.value, len(several), "transcribe")
    for number, (text, clip) in enumerate(zip(got, several, strict=True)):
        same_text(text, clip.text, f"the text of clip {number} of {len(several)} in one call")
    heard_by(transcribed_together.evidence, digest(engines.encoder), [clip.samples for clip in several])


@pytest.mark.task("batch")
def test_as_many_clips_as_the_engines_take_run_at_a_time(
    transcribed_together: Returned, several: list[Spoken], engines: WhisperPlans
) -> None:
    texts(transcribed_together.value, len(several), "transcribe")
    most = math.ceil(len(several) / MOST)
    for plan, name in ((engines.encoder, "encoder"), (engines.decoder, "decoder")):
        runs = runs_of(transcribed_together.evidence, digest(plan))
        beginnings = [run for run in runs if name == "encoder" or run["inputs"]["positions"][0] == 0]
        if len(beginnings) > most:
            fail(f"the {name} began {len(beginnings)} times for {len(several)} clips: {MOST} at a time need {most}")


# -- more than half a minute


@pytest.fixture(scope="module")
def reading(recorder: Recorder) -> Long:
    return long_reading(np.random.default_rng([recorder.seed, 23]))


@pytest.fixture(scope="module")
def read(call: Call, engines: WhisperPlans, reading: Long) -> Returned:
    given = tokenizer(own_rules(), vocabulary())
    return call("transcribe_long", engines.encoder, engines.decoder, given, reading.samples, seconds=2 * SECONDS)


@pytest.mark.task("long")
def test_more_than_half_a_minute_is_transcribed_to_its_end(read: Returned, reading: Long, record_property) -> None:
    text = _text(read.value)
    rate = word_error_rate(reading.text, text)
    record_property("word error rate", f"{100 * rate:.1f}%")
    if rate > ERROR_RATE:
        said, heard = len(reading.text.split()), len(text.split())
        fail(
            f"{100 * rate:.0f}% of the words are wrong, at most {100 * ERROR_RATE:.0f}% may be: {said} words were said "
            f"in {len(reading.samples) / RATE:.0f} s, the text has {heard}: {text!r:.300}"
        )


@pytest.mark.task("long")
def test_what_is_said_when_a_window_ends_is_there_once(read: Returned, reading: Long) -> None:
    text = _text(read.value)
    for sentence in reading.sentences[:0:-1]:  # the first has ended long before any window may
        last = sentence == reading.sentences[-1]
        wrong = errors_within(sentence, text)
        if wrong > (1 if last else 2):
            place = "being said when the first 30 s end" if last else "said in the first 30 s"
            fail(
                f"{sentence!r}, which is {place}, has {wrong} wrong words in {text!r:.600}: "
                f"let windows end in pauses, and each begin where the one before ends"
            )


def _text(value: object) -> str:
    if not isinstance(value, str):
        fail(f"transcribe_long must return a string, not {value!r:.200}")
    return value
