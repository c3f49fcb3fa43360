"""What is asked of an answer to q2_frameworks: TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from grader.fixtures.frameworks import tensorflow_net as net
from grader.fixtures.frameworks.live import live
from grader.fixtures.frameworks.pictures import pictures
from grader.judging.framework_plans import Asked, answers_agree, built_as_asked, loads, plan_of
from grader.judging.judge import expect_raises
from grader.plugin import Call, Recorder
from grader.processes.candidate import GivenFolder, Returned
from grader.processes.runner import Runner
from grader.tiers import Tier

SECONDS = 120.0  #: TensorFlow's import included, on a busy machine
SHAPE = (3, net.HEIGHT, net.WIDTH)  #: of the engine's input, without the batch


@dataclass(frozen=True)
class Served:
    """A SavedModel that only this run knows, and what TensorFlow says that its signature answers."""

    files: dict[str, bytes]
    signature: str
    asked: Asked
    images: np.ndarray  #: NCHW
    expected: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def served(recorder: Recorder) -> Served:
    rng = np.random.default_rng([recorder.seed, 2])
    names = {what: f"{rng.choice(list('bdpqx'))}_{what}_{rng.integers(10**6)}" for what in net.NAMES}
    batches = (1, int(rng.integers(4, 7)), int(rng.integers(8, 13)))
    images = pictures(rng, batches[2], net.HEIGHT, net.WIDTH)
    texts = {what: np.array(name) for what, name in names.items()}
    found = live(net.__name__, "fresh", {"images": images, "seed": np.array(rng.integers(2**31)), **texts})
    files = {name.partition(":")[2]: data.tobytes() for name, data in found.items() if name.startswith("file:")}
    expected = {names[what]: found[what] for what in ("logits", "embedding")}
    asked = Asked(names["input"], SHAPE, tuple(expected), batches)
    return Served(files, names["signature"], asked, images.transpose(0, 3, 1, 2), expected)


@pytest.fixture(scope="module")
def returned(call: Call, served: Served) -> Returned:
    folder = GivenFolder(f"drawn-{served.asked.image}", served.files)
    return call("from_tensorflow", folder, served.signature, list(served.asked.batches), seconds=SECONDS)


@pytest.mark.task("tensorflow")
def test_the_engine_has_the_signatures_names_and_takes_nchw(returned: Returned, served: Served, runner: Runner) -> None:
    built_as_asked(returned, "from_tensorflow", runner, served.asked)


@pytest.mark.task("tensorflow")
def test_the_engine_answers_what_tensorflow_answers(
    returned: Returned, served: Served, runner: Runner, tier: Tier
) -> None:
    plan = plan_of(returned, "from_tensorflow")
    answers_agree(plan, runner, tier, served.asked, served.images, served.expected)


@pytest.mark.task("tensorflow-errors")
@pytest.mark.parametrize("damage", ["nothing in it", "no saved_model.pb", "saved_model.pb cut off", "no variables"])
def test_a_folder_that_is_no_saved_model_is_told(
    call: Call, runner: Runner, rng: np.random.Generator, damage: str
) -> None:
    good = net.files_of(net.FOLDER)
    _works(call, good, runner, rng)
    files = {
        "nothing in it": {},
        "no saved_model.pb": {name: data for name, data in good.items() if name != "saved_model.pb"},
        "saved_model.pb cut off": good | {"saved_model.pb": good["saved_model.pb"][: int(rng.integers(5000, 50000))]},
        "no variables": {name: data for name, data in good.items() if not name.startswith("variables/")},
    }[damage]
    folder = _named("broken", rng)
    _refused(call, GivenFolder(folder, files), net.NAMES["signature"], f"a folder with {damage}", folder)


@pytest.mark.task("tensorflow-errors")
def test_a_signature_that_is_not_there_is_told_with_those_that_are(
    call: Call, runner: Runner, rng: np.random.Generator
) -> None:
    good = net.files_of(net.FOLDER)
    _works(call, good, runner, rng)
    missing = _named("classify", rng)
    there = ("serving_default", net.NAMES["signature"], "brightness")
    _refused(call, GivenFolder(_named("good", rng), good), missing, "a signature that is not there", missing, *there)


def _works(call: Call, files: Mapping[str, bytes], runner: Runner, rng: np.random.Generator) -> None:
    """The good folder beside the bad one gives a plan; whether it is right is judged by `tensorflow`."""
    folder = GivenFolder(_named("good", rng), files)
    done = call("from_tensorflow", folder, net.NAMES["signature"], [1, 2, 4], seconds=SECONDS)
    loads(done, "from_tensorflow", runner)


def _refused(call: Call, folder: GivenFolder, signature: str, situation: str, *words: str) -> None:
    """A ModelError that tells all the words."""
    with expect_raises("ModelError", f"from_tensorflow of {situation}", *words):
        call("from_tensorflow", folder, signature, [1, 2, 4], seconds=SECONDS)


def _named(name: str, rng: np.random.Generator) -> str:
    return f"{name}-{rng.integers(10**9)}"
