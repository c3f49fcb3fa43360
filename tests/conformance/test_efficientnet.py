"""The bounds of the design: the walk against the original ONNX, FP32 and FP16."""

import pytest

from grader import tiers
from grader.fixtures.photos import PHOTO_CLASSES
from tests.conformance.efficientnet import rows


@pytest.mark.slow
def test_the_walked_efficientnet_agrees_with_its_onnx_on_the_twin() -> None:
    found = {row.precision: row for row in rows(tiers.choose("twin"))}
    assert found["fp32"].error <= 1e-5
    assert 1e-5 < found["fp16"].error <= 1e-2  # not float32 under another name
    for row in found.values():
        assert row.same_top1 == 32
        assert row.classes == PHOTO_CLASSES


@pytest.mark.gpu
def test_efficientnet_agrees_with_its_onnx_on_a_gpu() -> None:
    found = {row.precision: row for row in rows(tiers.choose("gpu"))}
    assert found["fp32"].error <= 1e-3
    assert found["fp16"].error <= 1e-2
    for row in found.values():
        assert row.same_top1 == 32
        assert row.classes == PHOTO_CLASSES
