"""Products of matrices."""

from __future__ import annotations

import tensorrt_rtx as trt

from .graph import Graph, refuse, translates

M = trt.MatrixOperation


@translates("MATRIX_MULTIPLY")
def matrix_multiply(layer: trt.IMatrixMultiplyLayer, graph: Graph) -> None:
    operations = (layer.op0, layer.op1)
    operands = [_operand(layer, graph, index, operation) for index, operation in enumerate(operations)]
    # Vectors were given an axis: a row on the left, a column on the right, which the result does not have.
    extra = [axis for axis, operation in zip((-2, -1), operations, strict=True) if operation == M.VECTOR]
    if extra:
        graph.node("Squeeze", [graph.node("MatMul", operands), graph.int64(*extra)], layer)
    else:
        graph.node("MatMul", operands, layer)


def _operand(layer: trt.IMatrixMultiplyLayer, graph: Graph, index: int, operation: trt.MatrixOperation) -> str:
    name = graph.input(layer, index)
    if operation == M.NONE:
        return name
    if operation == M.TRANSPOSE:
        *outer, rows, columns = range(len(layer.get_input(index).shape))
        return graph.node("Transpose", [name], perm=[*outer, columns, rows])
    if operation == M.VECTOR:
        return graph.node("Unsqueeze", [name, graph.int64(-2 if index == 0 else -1)])
    raise refuse(layer, f"matrix operation {operation.name}")


@translates("EINSUM")
def einsum(layer: trt.IEinsumLayer, graph: Graph) -> None:
    inputs = [graph.input(layer, index) for index in range(layer.num_inputs)]
    graph.node("Einsum", inputs, layer, equation=layer.equation)
