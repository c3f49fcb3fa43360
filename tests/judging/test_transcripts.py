"""What is said of texts that are not what was wanted."""

import numpy as np
import pytest

from grader.fixtures.speech.log_mel import RATE, log_mel
from grader.judging.features import features_agree
from grader.judging.judge import CheckFailed
from grader.judging.transcripts import errors_within, same_text, texts

SPOKEN = np.sin(np.arange(2 * RATE) ** 1.3).astype(np.float32) * 0.3


def test_the_same_text_passes():
    same_text("He was not.", "He was not.", "the text")


@pytest.mark.parametrize(
    ("got", "says"),
    [
        ("He was", "ends too early, after 'He was': 'not.' is missing"),
        ("He was not. Not.", "goes on after its end, with 'Not.'"),
        ("He is not.", "is wrong after 'He': 'is not.', expected 'was not.'"),
        ("", "ends too early, from the first word on"),
        (" He was not.", "differs in blanks"),
    ],
)
def test_the_first_difference_is_told(got, says):
    with pytest.raises(CheckFailed, match=says.replace(".", r"\.")):
        same_text(got, "He was not.", "the text")


@pytest.mark.parametrize("value", [None, "a text", ["one"], ["one", 2], [b"one", b"two"]])
def test_texts_are_a_list_of_strings(value):
    with pytest.raises(CheckFailed, match="must return a list of 2 strings"):
        texts(value, 2, "transcribe")


@pytest.mark.parametrize(
    ("text", "errors"),
    [("So he was not there.", 0), ("So he was there.", 1), ("he was he was not not", 0), ("", 3), ("was not", 1)],
)
def test_errors_within_a_text_are_those_of_its_nearest_part(text, errors):
    assert errors_within("he was not", text) == errors


def test_the_models_own_features_pass():
    features_agree(log_mel(SPOKEN), SPOKEN)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda mel: mel * 4 - 4, r"not scaled: \(x \+ 4\) / 4"),
        (lambda mel: np.where(np.arange(3000) < 250, mel, 0), "padded with is wrong"),
        (lambda mel: np.roll(mel, 1, axis=0), "filters differ most"),
    ],
)
def test_usual_mistakes_in_features_are_named(change, says):
    with pytest.raises(CheckFailed, match=says):
        features_agree(change(log_mel(SPOKEN)).astype(np.float32), SPOKEN)
