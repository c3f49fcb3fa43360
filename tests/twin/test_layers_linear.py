"""Matrix products and einsum, against NumPy's in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorrt_rtx as trt

from tests.twin.networks import check

M = trt.MatrixOperation


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


#: Shapes and operations of both operands, and the same product as an einsum.
PRODUCTS = {
    "matrices": ((3, 4), "NONE", (4, 5), "NONE", "ij,jk->ik"),
    "left_transposed": ((4, 3), "TRANSPOSE", (4, 5), "NONE", "ji,jk->ik"),
    "right_transposed": ((2, 3, 4), "NONE", (2, 5, 4), "TRANSPOSE", "bij,bkj->bik"),
    "both_transposed": ((2, 4, 3), "TRANSPOSE", (2, 5, 4), "TRANSPOSE", "bji,bkj->bik"),
    "matrix_and_vector": ((2, 3, 4), "NONE", (2, 4), "VECTOR", "bij,bj->bi"),
    "vector_and_matrix": ((2, 4), "VECTOR", (2, 4, 5), "NONE", "bj,bjk->bk"),
    "vector_and_transposed": ((2, 4), "VECTOR", (2, 5, 4), "TRANSPOSE", "bj,bkj->bk"),
    "vectors": ((2, 4), "VECTOR", (2, 4), "VECTOR", "bj,bj->b"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", PRODUCTS)
def test_a_matrix_multiply(case: str, dtype: type) -> None:
    left, op0, right, op1, equation = PRODUCTS[case]
    a, b = normal(*left, dtype=dtype), normal(*right, dtype=dtype)

    def write(net, x, y):
        return net.network.add_matrix_multiply(x, getattr(M, op0), y, getattr(M, op1))

    free = [(0,), (0,)] if equation.startswith("b") else [(), ()]
    check(write, np.einsum(equation, a.astype(np.float64), b.astype(np.float64)), a, b, dynamic=free)


def test_a_matrix_multiply_broadcasts_over_the_batch() -> None:
    a, b = normal(5, 3, 4), normal(1, 4, 2)

    def write(net, x):
        return net.network.add_matrix_multiply(x, M.NONE, net.constant(b), M.NONE)

    check(write, a.astype(np.float64) @ b, a, dynamic=[(0,)])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("equation", ["ij,jk->ik", "bhid,bhjd->bhij", "i,j->ij", "bij,bjk", "ij,ij->"])
def test_an_einsum_of_two(equation: str, dtype: type) -> None:
    size = {"i": 3, "j": 4, "k": 5, "b": 2, "h": 2, "d": 6}
    a, b = (normal(*(size[letter] for letter in labels), dtype=dtype) for labels in equation.split("->")[0].split(","))
    expected = np.einsum(equation, a.astype(np.float64), b.astype(np.float64))
    check(lambda net, x, y: net.network.add_einsum([x, y], equation), expected, a, b)


def test_an_einsum_of_one_transposes() -> None:
    a = normal(2, 3, 4)
    check(lambda net, x: net.network.add_einsum([x], "abc->cab"), a.transpose(2, 0, 1), a)
