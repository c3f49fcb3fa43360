"""Layers that work on each element alone: activations, arithmetic, comparison, casts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorrt_rtx as trt

from .graph import FLOATS, INSIDE_ONLY, Graph, refuse, translates
from .weights import values

A, E, U = trt.ActivationType, trt.ElementWiseOperation, trt.UnaryOperation

#: The ONNX operator, and which of its attributes TensorRT calls alpha and beta.
_ACTIVATION: dict[trt.ActivationType, tuple[str, dict[str, str]]] = {
    A.RELU: ("Relu", {}),
    A.SIGMOID: ("Sigmoid", {}),
    A.TANH: ("Tanh", {}),
    A.LEAKY_RELU: ("LeakyRelu", {"alpha": "alpha"}),
    A.ELU: ("Elu", {"alpha": "alpha"}),
    A.SELU: ("Selu", {"alpha": "alpha", "gamma": "beta"}),
    A.SOFTSIGN: ("Softsign", {}),
    A.HARD_SIGMOID: ("HardSigmoid", {"alpha": "alpha", "beta": "beta"}),
    A.THRESHOLDED_RELU: ("ThresholdedRelu", {"alpha": "alpha"}),
}

_GELU = {A.GELU_ERF: "none", A.GELU_TANH: "tanh"}


@translates("ACTIVATION")
def activation(layer: trt.IActivationLayer, graph: Graph) -> None:
    kind, x, dtype = layer.type, graph.input(layer), layer.get_output(0).dtype
    if dtype not in FLOATS and kind not in (A.RELU, A.CLIP):
        raise refuse(layer, f"activation {kind.name} of {dtype.name}")
    if kind == A.RELU and dtype not in FLOATS:
        graph.node("Max", [x, graph.scalar(0, dtype)], layer)
    elif kind in _ACTIVATION:
        op, names = _ACTIVATION[kind]
        graph.node(op, [x], layer, **{theirs: getattr(layer, ours) for theirs, ours in names.items()})
    elif kind in _GELU:
        graph.node("Gelu", [x], layer, approximate=_GELU[kind])
    elif kind in _COMPOSED:
        _COMPOSED[kind](layer, graph, x, graph.scalar(layer.alpha, dtype), graph.scalar(layer.beta, dtype))
    else:
        raise refuse(layer, f"activation {kind.name}")


def _softplus(layer: trt.ILayer, graph: Graph, x: str, alpha: str, beta: str) -> None:
    """alpha * log(exp(beta * x) + 1)"""
    graph.node("Mul", [alpha, graph.node("Softplus", [graph.node("Mul", [beta, x])])], layer)


def _scaled_tanh(layer: trt.ILayer, graph: Graph, x: str, alpha: str, beta: str) -> None:
    """alpha * tanh(beta * x)"""
    graph.node("Mul", [alpha, graph.node("Tanh", [graph.node("Mul", [beta, x])])], layer)


def _clip(layer: trt.ILayer, graph: Graph, x: str, alpha: str, beta: str) -> None:
    """max(alpha, min(beta, x)): alpha wins where the bounds cross, beta in ONNX's Clip."""
    if layer.get_output(0).dtype in FLOATS and layer.alpha <= layer.beta:
        graph.node("Clip", [x, alpha, beta], layer)  # which ONNX Runtime computes within the convolution before it
    else:
        graph.node("Max", [alpha, graph.node("Min", [beta, x])], layer)


#: Activations whose parameters are multiplied in: TensorRT's own formulas, from the ActivationType reference.
_COMPOSED: dict[trt.ActivationType, Callable[..., None]] = {
    A.SOFTPLUS: _softplus,
    A.SCALED_TANH: _scaled_tanh,
    A.CLIP: _clip,
}

_ELEMENTWISE = {
    E.SUM: "Add",
    E.PROD: "Mul",
    E.MAX: "Max",
    E.MIN: "Min",
    E.SUB: "Sub",
    E.DIV: "Div",
    E.POW: "Pow",
    E.AND: "And",
    E.OR: "Or",
    E.XOR: "Xor",
    E.EQUAL: "Equal",
    E.GREATER: "Greater",
    E.LESS: "Less",
}


#: What can leave the range of INT8, where TensorRT does not say whether it wraps around.
_OVERFLOWS = (E.SUM, E.PROD, E.SUB, E.DIV, E.POW, E.FLOOR_DIV)


@translates("ELEMENTWISE")
def elementwise(layer: trt.IElementWiseLayer, graph: Graph) -> None:
    a, b = graph.input(layer), graph.input(layer, 1)
    if layer.op in _OVERFLOWS and layer.get_output(0).dtype == trt.DataType.INT8:
        raise refuse(layer, f"operation {layer.op.name} of INT8")
    if layer.op == E.FLOOR_DIV:
        if layer.get_output(0).dtype in FLOATS:
            graph.node("Floor", [graph.node("Div", [a, b])], layer)
        else:
            # Mod has the divisor's sign, so that what is left divides without a remainder.
            graph.node("Div", [graph.node("Sub", [a, graph.node("Mod", [a, b])]), b], layer)
    elif layer.op in _ELEMENTWISE:
        graph.node(_ELEMENTWISE[layer.op], [a, b], layer)
    else:
        raise refuse(layer, f"operation {layer.op.name}")


_UNARY = {
    U.EXP: "Exp",
    U.LOG: "Log",
    U.SQRT: "Sqrt",
    U.RECIP: "Reciprocal",
    U.ABS: "Abs",
    U.NEG: "Neg",
    U.SIN: "Sin",
    U.COS: "Cos",
    U.TAN: "Tan",
    U.SINH: "Sinh",
    U.COSH: "Cosh",
    U.ASIN: "Asin",
    U.ACOS: "Acos",
    U.ATAN: "Atan",
    U.ASINH: "Asinh",
    U.ACOSH: "Acosh",
    U.ATANH: "Atanh",
    U.CEIL: "Ceil",
    U.FLOOR: "Floor",
    U.ERF: "Erf",
    U.NOT: "Not",
    U.SIGN: "Sign",
    U.ROUND: "Round",
    U.ISINF: "IsInf",
    U.ISNAN: "IsNaN",
}


#: The operations that are not of floats alone.
_OF_INTEGERS = (U.ABS, U.NEG, U.SIGN, U.NOT)


@translates("UNARY")
def unary(layer: trt.IUnaryLayer, graph: Graph) -> None:
    if layer.op not in _UNARY:
        raise refuse(layer, f"operation {layer.op.name}")
    if layer.get_input(0).dtype not in FLOATS and layer.op not in _OF_INTEGERS:
        raise refuse(layer, f"operation {layer.op.name} of {layer.get_input(0).dtype.name}")
    graph.node(_UNARY[layer.op], [graph.input(layer)], layer)


@translates("SCALE")
def scale(layer: trt.IScaleLayer, graph: Graph) -> None:
    """(input * scale + shift) ^ power; a coefficient that was not given leaves its step out."""
    steps = [("Mul", layer.scale), ("Add", layer.shift), ("Pow", layer.power)]
    steps = [(op, weights) for op, given in steps if (weights := values(given)).size]
    result = graph.input(layer)
    for op, weights in steps:
        result = graph.node(op, [result, graph.constant(_coefficients(layer, weights))])
    graph.node("Identity", [result], layer)


def _coefficients(layer: trt.IScaleLayer, weights: np.ndarray) -> np.ndarray:
    """The weights in the shape that broadcasts as the mode says."""
    shape, axis = list(layer.get_input(0).shape), layer.channel_axis
    if layer.mode == trt.ScaleMode.UNIFORM:
        return weights.reshape(())
    if layer.mode == trt.ScaleMode.CHANNEL:
        return weights.reshape(weights.size, *(1,) * (len(shape) - axis - 1))
    if layer.mode == trt.ScaleMode.ELEMENTWISE:
        # One coefficient for each element from the channel axis inwards, the same for every batch.
        return weights.reshape(shape[axis:])
    raise refuse(layer, f"scale mode {layer.mode.name}")


@translates("PARAMETRIC_RELU")
def parametric_relu(layer: trt.IParametricReLULayer, graph: Graph) -> None:
    graph.node("PRelu", [graph.input(layer), graph.input(layer, 1)], layer)


@translates("SELECT")
def select(layer: trt.ISelectLayer, graph: Graph) -> None:
    condition, yes, no = (graph.input(layer, index) for index in range(3))
    if layer.get_output(0).dtype == trt.DataType.BOOL:
        graph.node_in(trt.DataType.UINT8, "Where", [condition, yes, no], layer, data=(1, 2))
    else:
        graph.node("Where", [condition, yes, no], layer)


@translates("CAST")
def cast(layer: trt.ICastLayer, graph: Graph) -> None:
    if layer.get_output(0).dtype in INSIDE_ONLY:
        raise refuse(layer, f"a cast to {layer.get_output(0).dtype.name}: how it rounds is nowhere said")
    graph.cast(graph.input(layer), layer.get_output(0).dtype, layer)


@translates("IDENTITY")
def identity(layer: trt.IIdentityLayer, graph: Graph) -> None:
    graph.cast(graph.input(layer), layer.get_output(0).dtype, layer)
