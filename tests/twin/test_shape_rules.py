"""Axes that are constants behind a cast are seen by inference, without running the network."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from grader.twin.shapes import ShapeRules


class NeverRun:
    def run(self, inputs):
        raise AssertionError("the network was run to learn its shapes")


@pytest.mark.parametrize("told", [False, True])
def test_axes_that_are_cast_are_seen(told):
    """``told``: the cast's result has an entry without a shape among the graph's values."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["axes"], ["cast"], to=TensorProto.INT64),
            helper.make_node("Unsqueeze", ["x", "cast"], ["y"]),
        ],
        "cast",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([0, 2], np.int32), "axes")],
        value_info=[helper.make_tensor_value_info("cast", TensorProto.INT64, None)] if told else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    rules = ShapeRules(model.SerializeToString(), NeverRun())
    assert rules.outputs({"x": (3, 1)}) == {"y": (1, 3, 1, 1)}
