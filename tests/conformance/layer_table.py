"""The table: small legal networks of one layer each, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_UP = "EXPLICIT_ROUND_UP"


@dataclass(frozen=True)
class Case:
    """One layer with its attributes (see `layer_networks`), and the shapes of its inputs.

    ``arrays`` are weights: a shape is drawn, an array is itself. ``doubt`` says what the documentation leaves open, or
    versions do differently: the row tells what came out there. ``lacking``: the TensorRT version that refuses it.
    ``dynamic``: whether the first axis may be -1. ``positive``: inputs above 0.
    """

    name: str
    kind: str
    attributes: dict[str, Any]
    shapes: list[list[int]]
    arrays: dict[str, Any] = field(default_factory=dict)
    doubt: str = ""
    lacking: str = ""
    dynamic: bool = True
    positive: bool = False

    def inputs(self) -> list[np.ndarray]:
        rng = np.random.default_rng(len(self.name))
        low = 0.2 if self.positive else -2.0
        return [rng.uniform(low, 2, shape).astype(np.float32) for shape in self.shapes]

    def weights(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(1)
        return {
            name: given if isinstance(given, np.ndarray) else rng.uniform(0.5, 1.5, given).astype(np.float32)
            for name, given in self.arrays.items()
        }


_IMAGE = [[2, 4, 9, 8]]


def _convolution(name: str, kernel: list[int], **attributes: Any) -> Case:
    weights = np.random.default_rng(2).standard_normal(kernel).astype(np.float32)
    return Case(f"convolution, {name}", "convolution", attributes, _IMAGE, {"kernel": weights, "bias": kernel[:1]})


def _deconvolution(name: str, kernel: list[int], **attributes: Any) -> Case:
    maps = kernel[1] * attributes.get("num_groups", 1)
    return Case(
        f"deconvolution, {name}", "deconvolution", attributes, [[2, 4, 4, 3]], {"kernel": kernel, "bias": [maps]}
    )


_OVERHANG = {"window": [3, 3], "stride_nd": [2, 2], "padding_mode": _UP}
_PADDED = _OVERHANG | {"pre_padding": [1, 1], "post_padding": [1, 1]}


def _poolings() -> Iterator[Case]:
    """Each way to pad, as a maximum, as an average over the input alone, and as one over input and padding."""
    ways: dict[str, tuple[dict[str, Any], str]] = {
        "pool, padding": ({"window": [3, 3], "pre_padding": [1, 1], "post_padding": [1, 1]}, ""),
        "pool, asymmetric padding": ({"window": [3, 2], "pre_padding": [0, 1], "post_padding": [2, 0]}, ""),
        "pool, rounded up": (_OVERHANG, ""),
        "pool, padding, rounded up": (_PADDED, ""),
        "pool, SAME_UPPER": ({"window": [3, 3], "stride_nd": [2, 2], "padding_mode": "SAME_UPPER"}, ""),
        "pool, a window without input": (
            {"window": [2, 2], "stride_nd": [3, 3], "padding_mode": _UP, "pre_padding": [1, 1], "post_padding": [1, 1]},
            "nothing says what that window gives",
        ),
    }
    kinds: dict[str, dict[str, Any]] = {
        "largest": {"pooling": "MAX"},
        "average": {"pooling": "AVERAGE", "average_count_excludes_padding": True},
        "average, padding counted": {"pooling": "AVERAGE", "average_count_excludes_padding": False},
    }
    for way, (attributes, unsaid) in ways.items():
        for kind, own in kinds.items():  # over 8 rows, windows of 3 at every second leave one row behind them
            rounded = attributes.get("padding_mode") == _UP and not own.get("average_count_excludes_padding", True)
            doubt = unsaid or ("8.6 does not divide as the class reference says" if rounded else "")
            yield Case(f"{way}: {kind}", "pooling", attributes | own, [[2, 3, 8, 8]], doubt=doubt)
    blend = {"pooling": "MAX_AVERAGE_BLEND", "blend_factor": 0.25, "window": [2, 2]}
    yield Case("blend pool", "pooling", blend, [[2, 3, 6, 6]])


def _activations() -> Iterator[Case]:
    parameters: dict[str, dict[str, float]] = {
        "SIGMOID": {},
        "LEAKY_RELU": {"alpha": 0.1},
        "ELU": {"alpha": 0.7},
        "SELU": {"alpha": 1.6, "beta": 1.05},
        "SOFTPLUS": {"alpha": 0.8, "beta": 1.3},
        "CLIP": {"alpha": -0.5, "beta": 0.8},
        "HARD_SIGMOID": {"alpha": 0.3, "beta": 0.4},
        "SCALED_TANH": {"alpha": 1.7, "beta": 0.6},
        "THRESHOLDED_RELU": {"alpha": 0.4},
    }
    for name, given in parameters.items():
        yield Case(f"activation {name}", "activation", {"activation": name} | given, [[2, 3, 4, 5]])


def _scales() -> Iterator[Case]:
    image = [[2, 3, 4, 5]]
    for mode, shape in (("UNIFORM", [1]), ("CHANNEL", [3]), ("ELEMENTWISE", [60])):
        steps = {name: shape for name in ("shift", "scale", "power")}
        yield Case(f"scale {mode}", "scale", {"mode": mode, "axis": 1}, image, steps, positive=True)
    rows = {"scale": [4], "shift": [4]}
    yield Case("scale CHANNEL, axis 2", "scale", {"mode": "CHANNEL", "axis": 2}, image, rows, lacking="8.6")
    yield Case("scale, shift alone", "scale", {"mode": "CHANNEL", "axis": 1}, image, {"shift": [3]})
    two = {"power": np.array([2], np.float32), "scale": [1], "shift": [1]}
    doubt = "whether a negative number may be raised to a whole power"
    yield Case("scale, power 2 of negatives", "scale", {"mode": "UNIFORM", "axis": 1}, image, two, doubt)
    power = {"right": np.full((1, 1, 1, 1), 2, np.float32)}
    yield Case("POW, 2 of negatives", "elementwise", {"operation": "POW"}, image, power, doubt)


def _others() -> Iterator[Case]:
    image = [[2, 5, 4, 3]]
    for window in (3, 5):
        given = {"window": window, "alpha": 0.5, "beta": 0.75, "k": 2.0}
        yield Case(f"LRN, window {window}", "lrn", given, [[2, 7, 3, 3]])
    for shape in ([2, 3], [2, 3, 4], [2, 3, 4, 5]):
        yield Case(f"softmax, default axis of {len(shape)}", "softmax", {}, [shape])
    yield Case("softmax, last axis", "softmax", {"axes": 1 << 3}, image)
    for op1, shape in (("NONE", [1, 4, 6]), ("TRANSPOSE", [1, 6, 4])):
        operations = {"op0": "NONE", "op1": op1}
        yield Case(f"matrix product, constant, {op1}", "product", operations, [[2, 3, 4]], {"right": shape})
    yield Case(
        "matrix product, constant matrix", "product", {"op0": "NONE", "op1": "NONE"}, [[2, 4]], {"right": [4, 6]}
    )
    vector = {"op0": "NONE", "op1": "VECTOR"}
    yield Case("matrix product, vector", "product", vector, [[2, 3, 4]], {"right": [1, 4]})
    for operation in ("SUM", "PROD", "MAX"):
        right = {"right": [1, 5, 1, 1]}
        yield Case(f"{operation}, a constant for each channel", "elementwise", {"operation": operation}, image, right)
    yield Case("PROD of two", "elementwise", {"operation": "PROD"}, [image[0], [2, 5, 1, 1]])
    yield Case("PReLU", "prelu", {}, image, {"slopes": [1, 5, 1, 1]})
    for axis in (1, 3):
        shapes = [[2, 3, 4, 5], [2, 6, 4, 5]] if axis == 1 else [[2, 3, 4, 5], [2, 3, 4, 1]]
        yield Case(f"concatenation, axis {axis}", "concatenation", {"axis": axis}, shapes)
    for reduction, axes, keep in (("AVG", [2, 3], True), ("SUM", [1], False)):
        given = {"reduction": reduction, "axes": axes, "keep": keep}
        yield Case(f"reduction {reduction} over {axes}", "reduce", given, image)
    yield Case("shuffle, 0 and -1", "shuffle", {"reshape_dims": [0, -1]}, image)
    yield Case(
        "shuffle, 0 behind a transpose", "shuffle", {"first_transpose": [0, 2, 3, 1], "reshape_dims": [0, 0, -1]}, image
    )
    given = {"reshape_dims": [0, 5, -1], "second_transpose": [0, 2, 1]}
    yield Case("shuffle, reshape and transpose", "shuffle", given, image)
    yield Case("padding and cropping", "padding", {"pre": [1, -1], "post": [-1, 2]}, image)
    slices = {"start": [0, 1, 0, 2], "shape": [2, 2, 2, 3], "stride": [1, 2, 1, -1]}
    yield Case("slice, backwards", "slice", slices, image, dynamic=False)
    yield Case("slice of any batch", "cut", {"start": [1, 0, 1], "size": [3, 2, 2]}, image)
    yield Case("gather", "gather", {"axis": 1}, image, {"indices": np.array([4, 0, 0, 2], np.int32)})
    yield Case("greater, and select", "select", {}, [[2, 5], [2, 5]])
    for op in ("EXP", "ABS"):
        yield Case(f"unary {op}", "unary", {"unary": op}, image)
    double = {"scales": [1.0, 1.0, 2.0, 2.0]}
    floor = {"nearest_rounding": "FLOOR", "coordinate_transformation": "ASYMMETRIC"}
    yield Case("resize, nearest", "resize", double | floor, image)
    for how in ("HALF_PIXEL", "ALIGN_CORNERS"):
        given = double | {"resize_mode": "LINEAR", "coordinate_transformation": how}
        yield Case(f"resize, linear, {how}", "resize", given, image)


def _convolutions() -> Iterator[Case]:
    yield _convolution("two groups, dilated, asymmetric padding", [6, 2, 3, 3], num_groups=2, dilation_nd=[2, 1],
                       pre_padding=[1, 0], post_padding=[0, 2])  # fmt: skip
    yield _convolution("depthwise, strided", [8, 1, 3, 3], num_groups=4, stride_nd=[2, 1])
    yield _convolution("SAME_LOWER", [3, 4, 3, 2], padding_mode="SAME_LOWER", stride_nd=[2, 2])
    yield _convolution("rounded up", [3, 4, 3, 3], padding_mode=_UP, stride_nd=[2, 2])
    yield _deconvolution("two groups, cropped", [4, 3, 3, 3], num_groups=2, stride_nd=[2, 2], pre_padding=[1, 0],
                         post_padding=[0, 1])  # fmt: skip
    yield _deconvolution("bilinear, depthwise", [4, 1, 4, 4], num_groups=4, stride_nd=[2, 2], pre_padding=[1, 1],
                         post_padding=[1, 1])  # fmt: skip


CASES: list[Case] = [*_convolutions(), *_poolings(), *_others(), *_scales(), *_activations()]
