"""What is asked of an answer to c2_speech_recognition: engines, and CTC from waveforms to words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from grader.fixtures.plans import trusted_plan
from grader.fixtures.reference import reference_outputs
from grader.fixtures.speech.coded_ctc import CodedCtc
from grader.fixtures.speech.ctc_beam import prefix_beam
from grader.fixtures.speech.ctc_lattices import Lattice
from grader.fixtures.speech.lexicon import lexicon
from grader.fixtures.speech.phoneme_ctc import WORD_BOUNDARY, greedy, phoneme_ctc_onnx, vocabulary
from grader.fixtures.speech.plans import SPEECH, phoneme_plan
from grader.fixtures.speech.private_cuts import cuts, reference_log_probs
from grader.fixtures.speech.private_model import TwoInputs
from grader.fixtures.speech.words import edit_distance
from grader.judging.judge import array, close, expect_raises, fail, fp32
from grader.plugin import Call, Recorder
from grader.processes.candidate import GivenFile, Returned
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest

SECONDS = (1.6, 0.5, 3.1, 0.8)  # of the clips in one call, and a little more: few shapes, since each new one costs time
LEAST = -20  # log-probability: TensorRT takes the logarithm of a softmax, which far below this is 0
MOST_FRAMES = 0.02  # error of log_probs that half of the frames stay below; 0.0024 was the most in 60 clips
ERROR_RATE = 0.01  # of phonemes that ONNX Runtime hears otherwise in the same clips; two in any case: float16 rounds


# -- engines with several dynamic dimensions


@pytest.mark.task("build")
@pytest.mark.parametrize("name", ["the phoneme model", "a model of this run"])
def test_every_input_gets_the_shapes_that_were_asked_for(call: Call, runner: Runner, tier: Tier, rng, name) -> None:
    model = TwoInputs.draw(rng)
    speech = name == "the phoneme model"
    onnx, profile = (phoneme_ctc_onnx().read_bytes(), SPEECH) if speech else (model.onnx, model.profile)
    built = _plan(call("build_engine", GivenFile("model.onnx", onnx), _listed(profile), seconds=60).value)
    _has_profile(runner, built, profile)
    if speech:
        (clip,) = cuts(rng, SECONDS[:1])
        got = runner.run(built, {"waveform": clip[None], "waveform_lengths": np.array([len(clip)], np.int32)})
        told = reference_log_probs(clip)
        found = array(got["log_probs"][0], f"log_probs of the engine of {name}", dtype="float32", shape=told.shape)
        # In float16 a frame between two sounds may come out otherwise; most frames may not.
        errors = np.abs(np.maximum(found, LEAST) - np.maximum(told, LEAST)).max(axis=1) / -LEAST
        if (typical := float(np.median(errors))) > MOST_FRAMES:
            fail(f"log_probs of the engine of {name} are off by {typical:.2g} in half of the frames, not by rounding")
        return
    for bound in (0, 2):
        inputs = model.inputs(rng, bound)
        want = reference_outputs(onnx, inputs)
        for tensor, output in runner.run(built, inputs).items():
            close(output, want[tensor], f"output {tensor!r} of the engine of {name}", within=fp32(tier))


@pytest.mark.task("build")
@pytest.mark.parametrize("kind", ["cut off", "an input forgotten", "an input too many", "largest below smallest"])
def test_what_cannot_be_built_is_a_value_error(call: Call, rng, kind: str) -> None:
    model = TwoInputs.draw(rng)
    call("build_engine", GivenFile("good.onnx", model.onnx), _listed(model.profile))
    data, profile, words = model.onnx, _listed(model.profile), []
    first, second = profile
    if kind == "cut off":
        data = data[: len(data) // 2]
    elif kind == "an input forgotten":
        words = [second]
        del profile[second]
    elif kind == "an input too many":
        words = [f"{first}_2"]
        profile[words[0]] = profile[first]
    else:
        profile[first] = profile[first][::-1]
    with expect_raises("ValueError", f"build_engine ({kind})", *words):
        call("build_engine", GivenFile("bad.onnx", data), profile)


def _plan(value: Any) -> bytes:
    if not isinstance(value, bytes) or not value:
        fail(f"build_engine must return the serialized plan as bytes, not {type(value).__name__}")
    return value


def _listed(profile: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(tuple(shape) for shape in shapes) for name, shapes in profile.items()}


def _has_profile(runner: Runner, plan: bytes, wanted: dict[str, Any]) -> None:
    tensors = {tensor.name: tensor for tensor in runner.inspect(plan).tensors if tensor.is_input}
    for name, shapes in wanted.items():
        if name not in tensors:
            fail(f"the engine has no input {name!r}: its inputs are {', '.join(tensors)}")
        profiles = tensors[name].profiles
        if profiles != (tuple(shapes),):
            got = [[list(shape) for shape in profile] for profile in profiles]
            fail(f"the engine's profiles of {name!r} are {got}, asked for was {[list(shape) for shape in shapes]}")


# -- the phoneme engine


@pytest.fixture(scope="module")
def speech(runner: Runner, tier: Tier) -> bytes:
    return phoneme_plan(runner, tier)


@pytest.fixture(scope="module")
def coded(runner: Runner, tier: Tier, recorder: Recorder) -> tuple[CodedCtc, bytes]:
    """A network of the same form that only this run knows: its labels can be read off the samples."""
    network = CodedCtc.draw(np.random.default_rng([recorder.seed, 1]))
    return network, trusted_plan(runner, tier, network.onnx, network.profile(4))


@pytest.mark.task("phonemes")
@pytest.mark.parametrize("network", ["a network of this run", "speech"])
def test_clips_of_different_lengths_get_their_own_labels(call, coded, request, rng, record_property, network) -> None:
    if network == "speech":
        _phonemes_of_the_model(call, request.getfixturevalue("speech"), rng, record_property)
        return
    ctc, plan = coded
    for frames in ([30, 90, 10], [int(rng.integers(20, 60))]):
        clips, texts = zip(*(ctc.clip(rng, count) for count in frames), strict=True)
        returned = call("recognize_phonemes", plan, list(clips))
        for number, (got, want) in enumerate(zip(_texts(returned, len(clips)), texts, strict=True)):
            if got != want:
                told = f"{_shown(got)}, not {_shown(want)}{_why(got, want, ctc.labels - 1)}"
                fail(f"clip {number} of {len(clips)} is {told}")
        _heard(returned, plan, clips)


def _phonemes_of_the_model(call: Call, plan: bytes, rng: np.random.Generator, record_property: Any) -> None:
    clips = cuts(rng, SECONDS)
    returned = call("recognize_phonemes", plan, clips, seconds=60)
    found = _texts(returned, len(clips))
    wanted = [greedy(reference_log_probs(clip)) for clip in clips]
    errors = sum(edit_distance(_texts_of(w), _texts_of(f)) for w, f in zip(wanted, found, strict=True))
    count = sum(map(len, wanted))
    record_property("phonemes that differ from ONNX Runtime's", f"{errors} of {count}")
    if errors > max(2, ERROR_RATE * count):
        fail(f"{errors} of {count} phonemes differ from those of the same model by ONNX Runtime, clip by clip")
    _heard(returned, plan, clips)


@pytest.mark.task("phonemes")
def test_clips_share_runs(call: Call, coded, rng) -> None:
    ctc, plan = coded
    clips = [ctc.clip(rng, int(count))[0] for count in rng.integers(9, 40, 6)]
    returned = call("recognize_phonemes", plan, clips)
    _texts(returned, len(clips))
    runs = [run for run in returned.evidence.runs if run["plan"] == digest(plan)]
    if returned.evidence.known and len(runs) != 2:
        fail(f"six clips in an engine for four at a time took {len(runs)} runs, expected 2")


@pytest.mark.task("phonemes")
@pytest.mark.parametrize("kind", ["too short", "too long"])
def test_a_clip_outside_the_profile_is_a_value_error(call: Call, coded, rng, kind: str) -> None:
    ctc, plan = coded
    clip, _ = ctc.clip(rng, 20)
    call("recognize_phonemes", plan, [clip])
    other, _ = ctc.clip(rng, {"too short": 7, "too long": 202}[kind])
    with expect_raises("ValueError", f"recognize_phonemes of a clip that is {kind} for the engine"):
        call("recognize_phonemes", plan, [clip, other])


def _texts(returned: Returned, count: int) -> list[list[int]]:
    value = returned.value
    if not isinstance(value, (list, tuple)) or len(value) != count:
        fail(f"recognize_phonemes of {count} clips must return a list of {count} lists of labels")
    return [_labels(text, "recognize_phonemes") for text in value]


def _texts_of(labels: Sequence[int]) -> list[str]:
    return list(map(str, labels))


def _labels(value: Any, function: str) -> list[int]:
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        return value.tolist()
    whole = isinstance(value, (list, tuple)) and all(isinstance(label, (int, np.integer)) for label in value)
    if not whole:
        fail(f"{function} must give labels as a list of whole numbers, not {value!r:.100}")
    return [int(label) for label in value]


def _heard(returned: Returned, plan: bytes, clips: Sequence[np.ndarray]) -> None:
    """The device saw every clip go through the engine that was given, whatever it was padded with."""
    runs = [run for run in returned.evidence.runs if run["plan"] == digest(plan)]
    seen = [row for run in runs for row in run["inputs"].get("waveform", ())]
    for number, clip in enumerate(clips):
        if returned.evidence.known and not any(np.array_equal(row[: len(clip)], clip) for row in seen):
            fail(f"the engine did not run on clip {number} as it was given")


def _shown(labels: Sequence[int]) -> str:
    return f"{list(labels[:12])}{' and so on' if len(labels) > 12 else ''}"


def _why(got: list[int], want: list[int], blank: int) -> str:
    """The usual mistakes, by what they leave in a text or take out of it."""
    if blank in got:
        return f": the blank, {blank}, is still in it"
    once = [label for before, label in zip([-1, *want], want, strict=False) if label != before]
    if got == once and got != want:
        return ": a blank between two equal labels keeps them apart, so repeats become one before blanks are taken out"
    if got[: len(want)] == want:
        return ": frames behind the clip's own out_lengths are padding"
    return ""


# -- beam search


@pytest.mark.task("beam")
@pytest.mark.parametrize("labels", [3, 4])
def test_a_wide_beam_finds_the_likeliest_text_over_all_paths(call: Call, rng, labels: int) -> None:
    for barred in (False, True) * 4:
        lattice = _telling(rng, labels, barred)
        (best, chance), (_, next_chance), *_ = lattice.by_every_path()
        got = tuple(_labels(call("beam_search", lattice.log_probs, lattice.blank, 2000).value, "beam_search"))
        if got == best or next_chance > 0.999 * chance:
            continue
        tail = ": that is the text of the best path alone" if got == lattice.greedy() else ""
        fail(
            f"the likeliest of all texts is {list(best)} with {chance:.3f}, beam_search found {list(got)}"
            f" with {np.exp(_chance(lattice, got)):.3f}{tail}"
        )


@pytest.mark.task("beam")
@pytest.mark.parametrize("width", [4, 12])
def test_a_narrow_beam_keeps_the_best_of_many(call: Call, rng, width: int) -> None:
    lattice = Lattice.draw(rng, 60, 40, 2.5)
    ((want, _), *_) = prefix_beam(lattice.with_blank_last(), width)
    returned = call("beam_search", lattice.log_probs.astype(np.float32), lattice.blank, width, seconds=6)
    got = tuple(_labels(returned.value, "beam_search"))
    least = lattice.log_probability(lattice.from_blank_last(want))
    if not _chance(lattice, got) >= least - 1e-3:
        told = f"{_chance(lattice, got):.2f}, a beam of {width} finds one with {least:.2f}"
        fail(f"the text that beam_search found has a log-probability of {told}")


def _telling(rng: np.random.Generator, labels: int, barred: bool) -> Lattice:
    """A lattice whose best path is not the best text's."""
    while True:
        lattice = Lattice.draw(rng, 6, labels, 0.8, barred=barred)
        if lattice.greedy() != lattice.by_every_path()[0][0]:
            return lattice


def _chance(lattice: Lattice, text: tuple[int, ...]) -> float:
    """log-probability; minus infinity for what is no text of these labels."""
    known = all(0 <= label < lattice.log_probs.shape[1] and label != lattice.blank for label in text)
    return lattice.log_probability(text) if known else -np.inf


# -- words


@pytest.mark.task("words")
def test_every_word_is_the_one_that_sounds_most_like_it(call: Call, rng) -> None:
    everything = lexicon()
    common = [word for word in everything if word.isalpha() and len(word) > 2]
    names = [common[i] for i in rng.choice(len(common), 300, replace=False)]
    names += [name for name in ("either", "record", "tomato") if name not in names]  # several pronunciations
    known = {name: everything[name] for name in names}
    said = [names[i] for i in rng.integers(len(names), size=14)] + ["either", "tomato"]
    heard = [_misheard(list(known[name][-1]), rng) for name in said]
    phonemes = [WORD_BOUNDARY]
    for sounds in heard:
        phonemes += [*sounds, *[WORD_BOUNDARY] * int(rng.integers(1, 3))]
    got = call("to_words", phonemes, {name: [list(way) for way in ways] for name, ways in known.items()}).value
    if not isinstance(got, (list, tuple)) or len(got) != len(heard):
        fail(f"to_words must return a list of {len(heard)} words for so many between boundaries, not {got!r:.200}")
    for sounds, word in zip(heard, got, strict=True):
        distances = {name: min(edit_distance(way, sounds) for way in ways) for name, ways in known.items()}
        want = min(distances, key=distances.__getitem__)
        if word != want:
            other = f"{distances[word]}" if isinstance(word, str) and word in distances else "not a word of the lexicon"
            fail(f"{' '.join(sounds)} is {want!r} (edits: {distances[want]}), to_words says {word!r:.40} ({other})")


def _misheard(sounds: list[str], rng: np.random.Generator) -> list[str]:
    """One phoneme another, put in or left out, or none of it; at least one stays."""
    others = [phoneme for phoneme in vocabulary()[3:-2] if phoneme.strip()]
    place, other = int(rng.integers(len(sounds))), str(rng.choice(others))
    way = str(rng.choice(["as it is", "another", "put in", "left out"]))
    if way == "another":
        return [*sounds[:place], other, *sounds[place + 1 :]]
    if way == "put in":
        return [*sounds[:place], other, *sounds[place:]]
    return sounds[:place] + sounds[place + 1 :] if way == "left out" and len(sounds) > 1 else sounds
