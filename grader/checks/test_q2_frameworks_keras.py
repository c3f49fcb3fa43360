"""What is asked of an answer to q2_frameworks: Keras."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest

from grader.fixtures.frameworks import keras_net as net
from grader.fixtures.frameworks.live import live
from grader.fixtures.frameworks.pictures import pictures
from grader.judging.framework_plans import Asked, answers_agree, built_as_asked, loads, plan_of
from grader.judging.judge import expect_raises
from grader.plugin import Call, Recorder
from grader.processes.candidate import GivenFile, Returned
from grader.processes.runner import Runner
from grader.tiers import Tier

SECONDS = 120.0  #: the import of Keras and its backend included, on a busy machine
SHAPE = (net.HEIGHT, net.WIDTH, 3)  #: of the engine's input, without the batch: as the model takes it


@dataclass(frozen=True)
class Kept:
    """A `.keras` file that only this run knows, and what Keras says that it answers."""

    file: bytes
    asked: Asked
    images: np.ndarray
    expected: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def kept(recorder: Recorder) -> Kept:
    rng = np.random.default_rng([recorder.seed, 3])
    names = {what: f"{rng.choice(list('bdpqx'))}_{what}_{rng.integers(10**6)}" for what in net.NAMES}
    batches = (int(rng.integers(1, 3)), int(rng.integers(4, 7)), int(rng.integers(8, 13)))
    images = pictures(rng, batches[2], net.HEIGHT, net.WIDTH)
    texts = {what: np.array(name) for what, name in names.items()}
    found = live(net.__name__, "fresh", {"images": images, "seed": np.array(rng.integers(2**31)), **texts})
    expected = {names[what]: found[what] for what in ("scores", "features")}
    return Kept(found["saved"].tobytes(), Asked(names["input"], SHAPE, tuple(expected), batches), images, expected)


@pytest.fixture(scope="module")
def returned(call: Call, kept: Kept) -> Returned:
    file = GivenFile(f"{kept.asked.image}.keras", kept.file)
    return call("from_keras", file, list(kept.asked.batches), seconds=SECONDS)


@pytest.mark.task("keras")
def test_the_engine_has_the_models_names_and_any_batch(returned: Returned, kept: Kept, runner: Runner) -> None:
    built_as_asked(returned, "from_keras", runner, kept.asked)


@pytest.mark.task("keras")
def test_the_engine_answers_what_keras_answers(returned: Returned, kept: Kept, runner: Runner, tier: Tier) -> None:
    plan = plan_of(returned, "from_keras")
    answers_agree(plan, runner, tier, kept.asked, kept.images, kept.expected)


@pytest.mark.task("keras")
def test_a_file_that_keras_cannot_load_is_told(call: Call, rng: np.random.Generator, runner: Runner) -> None:
    good = net.FILE.read_bytes()
    cases = {
        "that was cut off": good[: int(rng.integers(2000, len(good) - 2000))],
        "that is empty": b"",
        "that is something else": rng.bytes(3000),
        "without its weights": _without_weights(good),
    }
    for what, data in cases.items():
        name = f"broken-{rng.integers(10**9)}.keras"
        with expect_raises("ModelError", f"from_keras of a file {what}", name):
            call("from_keras", GivenFile(name, data), [1, 2, 4], seconds=SECONDS)
    done = call("from_keras", GivenFile("good.keras", good), [1, 2, 4], seconds=SECONDS)
    loads(done, "from_keras", runner)


def _without_weights(file: bytes) -> bytes:
    """The archive without the one member that is no JSON."""
    left = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as old, zipfile.ZipFile(left, "w") as new:
        for name in old.namelist():
            if name.endswith(".json"):
                new.writestr(name, old.read(name))
    return left.getvalue()
