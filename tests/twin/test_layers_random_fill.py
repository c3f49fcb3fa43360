"""Random fills: nothing says which numbers a GPU draws, so what is checked is how they are distributed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorrt_rtx as trt

from grader.twin.executor import Executor
from grader.twin.layers import Unsupported
from grader.twin.walk import walk
from tests.twin.networks import TYPE, make, run

D = trt.FillOperation


def like(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def drawing(op: trt.FillOperation, dtype: type, alpha: float, beta: float, tensors: bool):
    """A writer of a random fill in the shape of its input, with alpha and beta as tensors or as numbers."""

    def write(net, tensor):
        layer = net.network.add_fill((1, 1), op, TYPE[np.dtype(dtype)])
        layer.set_input(0, net.network.add_shape(tensor).get_output(0))
        if tensors:
            layer.set_input(1, net.constant(np.array(alpha, dtype)))
            layer.set_input(2, net.constant(np.array(beta, dtype)))
        else:
            layer.alpha, layer.beta = alpha, beta
        return layer

    return write


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("tensors", [True, False])
def test_a_uniform_fill_lies_between_alpha_and_beta(tensors: bool, dtype: type) -> None:
    """And is spread over it: 100000 draws miss each of these bounds once in far more than a million runs."""
    (result,) = run(drawing(D.RANDOM_UNIFORM, dtype, -2.0, 6.0, tensors), like(250, 400), dynamic=[(0,)])
    result = result.astype(np.float64)
    assert result.shape == (250, 400) and -2 <= result.min() < -1.9 and 5.9 < result.max() <= 6
    assert abs(result.mean() - 2) < 0.05 and abs(result.std() - 8 / 12**0.5) < 0.05


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("tensors", [True, False])
def test_a_normal_fill_has_the_mean_alpha_and_the_deviation_beta(tensors: bool, dtype: type) -> None:
    (result,) = run(drawing(D.RANDOM_NORMAL, dtype, 3.0, 0.5, tensors), like(250, 400), dynamic=[(0,)])
    result = result.astype(np.float64)
    assert abs(result.mean() - 3) < 0.02 and abs(result.std() - 0.5) < 0.02
    assert abs(np.mean(np.abs(result - 3) < 0.5) - 0.6827) < 0.02  # one deviation; of a uniform one, 0.577


@pytest.mark.parametrize("op", ["RANDOM_UNIFORM", "RANDOM_NORMAL"])
def test_each_run_draws_anew(op: str) -> None:
    net = make(drawing(getattr(D, op), np.float32, 0.0, 1.0, False), [like(20, 30)])
    model, fed = walk(net.network), {"in0": like(20, 30)}
    executor = Executor(model)
    first, second, other = (runs.run(fed)["out0"] for runs in (executor, executor, Executor(model)))
    assert len(np.unique(first)) > 590
    assert not np.any(first == second)
    assert not np.any(first == other), "a plan that is loaded again draws what it drew before"


def test_bounds_given_as_integers_are_refused() -> None:
    """`layer.alpha = 3; layer.beta = 0.5` leaves beta 0 in TensorRT: one number is kept as int64, the other lost."""
    net = make(drawing(D.RANDOM_NORMAL, np.float32, 3, 0.5, False), [like(20, 30)])
    with pytest.raises(Unsupported, match=r"FILL.*give floats"):
        walk(net.network)
