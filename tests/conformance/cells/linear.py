"""Products of matrices."""

from __future__ import annotations

import numpy as np

from .entry import X, entry

_LOW = {"low": -1.0, "high": 1.0}
entry(
    "MATRIX_MULTIPLY", [X((2, 3, 4), **_LOW), X((2, 5, 4), **_LOW)],
    lambda net, a, b: net.add_matrix_multiply(a, net.trt.MatrixOperation.NONE, b, net.trt.MatrixOperation.TRANSPOSE),
    lambda a, b: a @ b.swapaxes(1, 2),
)  # fmt: skip
entry(
    "MATRIX_MULTIPLY", [X((2, 3, 4), **_LOW), X((2, 4), **_LOW)],
    lambda net, a, b: net.add_matrix_multiply(a, net.trt.MatrixOperation.NONE, b, net.trt.MatrixOperation.VECTOR),
    lambda a, b: (a @ b[..., None])[..., 0],
    "vector",
)  # fmt: skip
entry(
    "MATRIX_MULTIPLY", [X((3, 2), free=1, **_LOW), X((2, 4), **_LOW)],
    lambda net, a, b: net.add_matrix_multiply(a, net.trt.MatrixOperation.NONE, b, net.trt.MatrixOperation.NONE),
    lambda a, b: a @ b,
    "the free axis is summed over",
)  # fmt: skip
entry(
    "EINSUM", [X((2, 3, 4), **_LOW), X((2, 4, 2), **_LOW)],
    lambda net, a, b: net.add_einsum([a, b], "bij,bjk->bik"),
    lambda a, b: np.einsum("bij,bjk->bik", a, b),
)  # fmt: skip
