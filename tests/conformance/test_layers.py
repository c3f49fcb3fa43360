"""Every row of the table of layers agrees, or is one that the documentation leaves open."""

from __future__ import annotations

import numpy as np
import pytest

from grader import tiers
from tests.conformance.layer_references import reference
from tests.conformance.layer_table import CASES
from tests.conformance.layers import Row, rows

#: The attributes that a layer has without being given them, but for the number of groups, which the kernel fits.
_OPTIONAL = {
    "convolution": {"dilation_nd", "stride_nd", "pre_padding", "post_padding", "padding_mode"},
    "deconvolution": {"stride_nd", "pre_padding", "post_padding"},
    "pooling": {
        "stride_nd", "pre_padding", "post_padding", "padding_mode", "average_count_excludes_padding", "blend_factor",
    },
    "softmax": {"axes"},
    "activation": {"alpha", "beta"},
    "shuffle": {"first_transpose", "second_transpose"},
    "resize": {"resize_mode", "coordinate_transformation"},
}  # fmt: skip


def _differing(found: list[Row]) -> list[tuple[str, str]]:
    return [(row.case.name, row.says) for row in found if row.agrees is False]


@pytest.mark.slow
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_the_twin_computes_every_layer_as_documented(static: bool) -> None:
    found = list(rows(tiers.choose("twin"), static=static))
    assert _differing(found) == []
    assert len(found) == len(CASES)
    # What the twin answers where nothing says what is right is a refusal.
    assert [row.says for row in found if row.agrees is None and "Error" not in row.says] == []


@pytest.mark.gpu
def test_a_gpu_computes_every_layer_as_documented() -> None:
    assert _differing(list(rows(tiers.choose("gpu")))) == []


def test_each_attribute_moves_what_some_row_expects() -> None:
    """So that a layer that ignores one differs somewhere."""
    moved: dict[str, set[str]] = {kind: set() for kind in _OPTIONAL}
    for case in CASES:
        inputs, arrays = case.inputs(), case.weights()
        whole = reference(case.kind, case.attributes, inputs, arrays)
        for name in case.attributes.keys() & _OPTIONAL.get(case.kind, set()):
            rest = {other: value for other, value in case.attributes.items() if other != name}
            without = reference(case.kind, rest, inputs, arrays)
            if whole.shape != without.shape or not np.allclose(whole, without, equal_nan=True):
                moved[case.kind].add(name)
    assert moved == _OPTIONAL
