"""What is asked of an answer to q2_frameworks: Caffe's two files to an engine, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

from grader.fixtures.private import caffe_damage, caffe_nets
from grader.fixtures.private.caffe_damage import Damaged
from grader.fixtures.private.caffe_kinds import FAMILIES, Kinds
from grader.fixtures.private.caffe_layers import Network
from grader.fixtures.private.caffe_writer import Files, Style, written
from grader.judging.caffe import CaffeJudge, refused
from grader.plugin import Call, Recorder
from grader.processes.candidate import GivenFile, Returned
from grader.processes.runner import Runner
from grader.tiers import Tier


@pytest.fixture
def judge(runner: Runner, tier: Tier, rng: np.random.Generator) -> CaffeJudge:
    return CaffeJudge(runner, tier, rng)


def _built(call: Call, files: Files, batches: list[int]) -> Returned:
    prototxt, caffemodel = GivenFile("net.prototxt", files.prototxt.encode("latin-1")), files.caffemodel
    return call("from_caffe", prototxt, GivenFile("net.caffemodel", caffemodel), batches)


def _batches(rng: np.random.Generator) -> list[int]:
    low, usual, high = np.sort(rng.choice(range(1, 12), 3, replace=False)).tolist()
    return [low, usual, high]


# -- a network as Caffe's own examples are


STYLES = {
    "as Caffe writes them": Style(),
    "of training": Style("input_shape", doubles=True, training=True, shuffled=True),
    "of older versions": Style("input_dim", old_blobs=True),
}


@pytest.mark.task("caffe")
@pytest.mark.parametrize("files", list(STYLES))
def test_a_lenet_gives_caffes_own_answers(call: Call, judge: CaffeJudge, rng, files: str) -> None:
    network, batches = caffe_nets.lenet(rng), _batches(rng)
    judge.right(_built(call, written(network, rng, STYLES[files]), batches), network, batches)


# -- what later networks have


@pytest.mark.task("caffe-branches")
@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_use_of_a_layer_is_understood(call: Call, judge: CaffeJudge, rng, family: str) -> None:
    kinds, batches = Kinds.draw(family, rng), _batches(rng)
    judge.right(_built(call, written(kinds.network, rng), batches), kinds.network, batches, kinds.meaning)


@pytest.mark.task("caffe-branches")
@pytest.mark.parametrize("shape", ["googlenet", "squeezenet"])
def test_a_network_of_branches_gives_caffes_own_answers(call: Call, judge: CaffeJudge, rng, shape: str) -> None:
    network, batches = getattr(caffe_nets, shape)(rng), _batches(rng)
    style = Style(training=True, stages=True, shuffled=True)
    judge.right(_built(call, written(network, rng, style), batches), network, batches)


# -- what cannot become an engine


@pytest.fixture(scope="module")
def good(call: Call, runner: Runner, tier: Tier, recorder: Recorder) -> Network:
    """A network that the answer brings to an engine: only beside it is an error worth anything."""
    rng = np.random.default_rng([recorder.seed, 2])
    network = caffe_damage.network(rng)
    CaffeJudge(runner, tier, rng).right(_built(call, written(network, rng), [1, 2, 4]), network, [1, 2, 4])
    return network


@pytest.mark.task("caffe-errors")
def test_a_damaged_file_is_told_as_such(call: Call, good: Network, rng) -> None:
    for damaged in caffe_damage.damaged_files(good, rng):
        _is_refused(call, damaged)


@pytest.mark.task("caffe-errors")
def test_a_layer_that_cannot_be_is_named(call: Call, good: Network, rng) -> None:
    for damaged in caffe_damage.damaged_layers(good, rng):
        _is_refused(call, damaged)


def _is_refused(call: Call, damaged: Damaged) -> None:
    with refused(damaged):
        _built(call, damaged.files, [1, 2, 4])
