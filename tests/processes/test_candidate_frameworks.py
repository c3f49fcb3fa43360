"""Frameworks in a candidate's process: they can be imported there, and PyTorch's objects can be given."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grader import tiers
from grader.processes.candidate import CallFailed, Candidate, GivenModule, GivenTensor
from grader.processes.places import HIDDEN_PACKAGES

KEY = b"key of the tests"
ANSWER = """\
import importlib
import importlib.util
import os


def imported(name):
    return importlib.import_module(name).__name__


def looked_for(name):
    return importlib.util.find_spec(name) is not None


def threads():
    import torch

    torch.randn(400, 400) @ torch.randn(400, 400)
    return torch.get_num_threads(), len(os.listdir("/proc/self/task"))


def told(module, example, more):
    import inspect

    import torch

    tensors = isinstance(example, torch.Tensor), isinstance(more["one"], torch.Tensor)
    kinds = isinstance(module, torch.nn.Module), *tensors
    with torch.no_grad():
        trained = module.training
        answer = module.eval()(example).numpy()
    return kinds, trained, answer, type(module).__name__, "class Doubled" in inspect.getsource(type(module))
"""
SOURCE = """\
import torch


class Doubled(torch.nn.Module):
    def __init__(self, times):
        super().__init__()
        self.times = times
        self.inner = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.inner(x) * self.times
"""
WEIGHTS = {"inner.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "inner.bias": np.ones(2, np.float32)}
FRAMEWORKS = ("torch", "onnxscript", "tensorflow", "tf2onnx", "tf2onnx.convert", "keras")
#: Each line of defence alone, as on machines that lack the others.
OFF = (frozenset(), frozenset({"mounts"}), frozenset({"landlock"}), frozenset({"mounts", "pid", "network", "user"}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answer") / "answer.py"
    path.write_text(ANSWER)
    return path


@pytest.fixture(scope="module", params=OFF, ids=lambda off: f"without {'-'.join(sorted(off)) or 'nothing'}")
def candidate(folder: Path, request: pytest.FixtureRequest) -> Iterator[Candidate]:
    with Candidate(folder, tiers.choose("twin"), KEY, off=request.param) as started:
        yield started


@pytest.mark.parametrize("name", HIDDEN_PACKAGES)
def test_what_would_answer_without_tensorrt_is_as_if_not_installed(candidate: Candidate, name: str) -> None:
    assert candidate.call("looked_for", name).value is False
    with pytest.raises(CallFailed) as caught:
        candidate.call("imported", name)
    assert caught.value.raised is not None
    assert "ImportError" in caught.value.raised.bases


@pytest.mark.frameworks
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_can_be_imported_behind_each_line_of_defence(candidate: Candidate, name: str) -> None:
    assert candidate.call("imported", name, seconds=60).value == name


@pytest.mark.frameworks
def test_a_server_with_many_cores_does_not_exceed_the_count_of_threads(candidate: Candidate) -> None:
    threads, all_of_them = candidate.call("threads", seconds=60).value
    assert threads <= 8
    assert all_of_them < 64


@pytest.mark.frameworks
def test_a_module_and_tensors_are_made_of_source_and_arrays(candidate: Candidate) -> None:
    example = np.array([[1, 2, 3]], np.float32)
    module = GivenModule(SOURCE, "Doubled", {"times": 2.0}, WEIGHTS)

    value = candidate.call("told", module, GivenTensor(example), {"one": GivenTensor(example)}, seconds=60).value

    kinds, trained, answer, name, has_source = value
    assert kinds == (True, True, True)
    assert trained is True
    np.testing.assert_array_equal(answer, (example @ WEIGHTS["inner.weight"].T + 1) * 2)
    assert (name, has_source) == ("Doubled", True)


@pytest.mark.frameworks
def test_weights_that_do_not_fit_are_an_error(candidate: Candidate) -> None:
    module = GivenModule(SOURCE, "Doubled", {"times": 2.0}, {"inner.bias": np.ones(2, np.float32)})
    with pytest.raises(CallFailed, match="Missing key"):
        candidate.call("told", module, GivenTensor(np.zeros((1, 3), np.float32)), {}, seconds=60)


def test_without_pytorch_such_arguments_are_refused_in_words(folder: Path) -> None:
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("it is installed here")
    with (
        Candidate(folder, tiers.choose("twin"), KEY) as candidate,
        pytest.raises(CallFailed, match="No module named 'torch'"),
    ):
        candidate.call("told", 1, GivenTensor(np.zeros(1, np.float32)), {})
