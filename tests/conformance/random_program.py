"""Builds and runs a randomly drawn network, as a candidate's code does; run like an answer, on any tier."""

from __future__ import annotations

from typing import Any

import matrix_program  # beside this file
import numpy as np
import tensorrt as trt
from cells.entry import Net

#: Printed once the builder is done, so that a process that ends before it ended in the builder.
BUILT = "the network is built"
_OLD = trt.__version__.startswith("8.")


def run(
    inputs: list[dict[str, Any]], steps: list[dict[str, Any]], outputs: list[int], arrays: list[np.ndarray]
) -> list[np.ndarray]:
    """What the network gives for these inputs, in the order of ``outputs``.

    Args:
        inputs: dtype, shape and free (whether the first axis is -1) of each.
        steps: see `random_steps`; each makes one tensor, numbered behind the inputs.
        outputs: the tensors' numbers.
        arrays: the inputs.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    net = _Steps(network)
    for number, told in enumerate(inputs):
        shape = list(told["shape"])
        declared = [-1, *shape[1:]] if told["free"] else shape
        net.tensors.append(network.add_input(f"x{number}", net.type(told["dtype"]), declared))
        if told["free"]:
            profile.set_shape(f"x{number}", (1, *shape[1:]), tuple(shape), (2 * shape[0], *shape[1:]))
    if any(told["free"] for told in inputs):
        config.add_optimization_profile(profile)
    for step in steps:
        given = [net.tensors[number] for number in step["in"]]
        net.tensors.append(getattr(net, step["op"])(step, *given))
    for place, number in enumerate(outputs):
        # A tensor that is an input, or twice an output, cannot be marked: an identity of it can.
        tensor, dtype = net.tensors[number], (inputs + steps)[number]["dtype"]
        if _OLD:  # its tensors do not tell float16 from float32, and bytes come out as 32 bits
            tensor = net.add_cast(tensor, net.type("INT32" if dtype == "BOOL" else dtype)).get_output(0)
            tensor.dtype = net.type("INT32" if dtype == "BOOL" else dtype)
        else:
            tensor = net.add_identity(tensor).get_output(0)
        tensor.name = f"y{place:02}"
        network.mark_output(tensor)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("the builder refuses this network")
    print(BUILT, flush=True)
    got = matrix_program.execute(bytes(plan), arrays)
    truths = [(inputs + steps)[number]["dtype"] == "BOOL" for number in outputs]
    return [array.astype(np.bool_) if truth else array for array, truth in zip(got, truths, strict=True)]


class _Steps(Net):
    """A method for each step."""

    def __init__(self, network: Any) -> None:
        super().__init__(trt, network, "FLOAT", "static")
        self.tensors: list[Any] = []

    def _first(self, layer: Any, **attributes: Any) -> Any:
        return self.put(layer, **attributes).get_output(0)

    def constant(self, step: Any, dtype: str | None = None) -> Any:  # type: ignore[override]
        """Of a step; or of plain values, as in the class above."""
        if isinstance(step, dict):
            return super().constant(step["values"], step["dtype"])
        return super().constant(step, dtype)

    def activation(self, step: dict, x: Any) -> Any:
        kind = getattr(trt.ActivationType, step["kind"])
        return self._first(self.add_activation(x, kind), alpha=step["alpha"], beta=step["beta"])

    def unary(self, step: dict, x: Any) -> Any:
        return self._first(self.add_unary(x, getattr(trt.UnaryOperation, step["kind"])))

    def elementwise(self, step: dict, a: Any, b: Any) -> Any:
        return self._first(self.add_elementwise(a, b, getattr(trt.ElementWiseOperation, step["kind"])))

    def select(self, step: dict, condition: Any, a: Any, b: Any) -> Any:
        return self._first(self.add_select(condition, a, b))

    def cast(self, step: Any, x: Any) -> Any:  # type: ignore[override]
        return self._first(self.add_cast(x, self.type(step["to"])))

    def identity(self, step: dict, x: Any) -> Any:
        return self._first(self.add_identity(x))

    def reduce(self, step: dict, x: Any) -> Any:
        mask = sum(1 << axis for axis in step["axes"])
        return self._first(self.add_reduce(x, getattr(trt.ReduceOperation, step["kind"]), mask, step["keep"]))

    def softmax(self, step: dict, x: Any) -> Any:
        return self._first(self.add_softmax(x), axes=1 << step["axis"])

    def cumulative(self, step: dict, x: Any) -> Any:
        axis = super().constant(step["axis"], "INT32")
        operation = trt.CumulativeOperation.SUM
        return self._first(self.add_cumulative(x, axis, operation, step["exclusive"], step["reverse"]))

    def normalization(self, step: dict, x: Any) -> Any:
        mask = sum(1 << axis for axis in step["axes"])
        scale, bias = (super(_Steps, self).constant(step[name], step["dtype"]) for name in ("scale", "bias"))
        return self._first(self.add_normalization(x, scale, bias, mask), epsilon=step["epsilon"])

    def product(self, step: dict, a: Any, b: Any) -> Any:
        operations = trt.MatrixOperation
        second = operations.TRANSPOSE if step["transposed"] else operations.NONE
        return self._first(self.add_matrix_multiply(a, operations.NONE, b, second))

    def convolution(self, step: dict, x: Any) -> Any:
        kernel, bias = (self.weights(step[name], step["dtype"]) for name in ("kernel", "bias"))
        maps, size = step["kernel"].shape[0], step["kernel"].shape[2:]
        layer = self.add_convolution_nd(x, maps, size, kernel, bias)
        stride, padding = (step["stride"],) * 2, (step["padding"],) * 2
        return self._first(layer, stride_nd=stride, padding_nd=padding, num_groups=step["groups"])

    def pooling(self, step: dict, x: Any) -> Any:
        layer = self.add_pooling_nd(x, getattr(trt.PoolingType, step["kind"]), (step["window"],) * 2)
        return self._first(layer, stride_nd=(step["stride"],) * 2)

    def resize(self, step: dict, x: Any) -> Any:
        return self._first(
            self.add_resize(x), resize_mode=trt.InterpolationMode.NEAREST, scales=[1.0] * (len(x.shape) - 1) + [2.0],
            coordinate_transformation=trt.ResizeCoordinateTransformation.ASYMMETRIC,
            nearest_rounding=trt.ResizeRoundMode.FLOOR,
        )  # fmt: skip

    def padding(self, step: dict, x: Any) -> Any:
        return self._first(self.add_padding_nd(x, tuple(step["pre"]), tuple(step["post"])))

    def shuffle(self, step: dict, x: Any) -> Any:
        layer = self.put(self.add_shuffle(x), first_transpose=tuple(step["first"]), reshape_dims=tuple(step["dims"]))
        return self._first(layer, second_transpose=tuple(step["second"]))

    def slice(self, step: dict, x: Any) -> Any:
        rank, axis = len(x.shape), step["axis"]
        sizes = [step["size"] if a == axis else max(size, 0) for a, size in enumerate(x.shape)]
        start = [step["start"] if a == axis else 0 for a in range(rank)]
        stride = [step["stride"] if a == axis else 1 for a in range(rank)]
        layer = self.add_slice(x, tuple(start), tuple(sizes), tuple(stride))
        if min(x.shape) < 0:
            layer.set_input(2, self.sizes(x, {axis: step["size"]}))
        return self._first(layer)

    def concatenation(self, step: dict, *tensors: Any) -> Any:
        return self._first(self.add_concatenation(list(tensors)), axis=step["axis"])

    def gather(self, step: dict, x: Any) -> Any:
        return self._first(self.add_gather(x, super().constant(step["places"], "INT32"), step["axis"]))

    def topk(self, step: dict, x: Any) -> Any:
        layer = self.add_topk(x, getattr(trt.TopKOperation, step["kind"]), step["k"], 1 << step["axis"])
        return layer.get_output(1 if step["indices"] else 0)

    def one_hot(self, step: dict, places: Any) -> Any:
        values, depth = super().constant([-0.5, 1.5], step["dtype"]), super().constant(step["depth"], "INT32")
        return self._first(self.add_one_hot(places, values, depth, -1))

    def quantized(self, step: dict, x: Any) -> Any:
        if _OLD:  # whose scales are float32
            scale = super().constant(step["scale"], "FLOAT")
            stored = self.add_quantize(x, scale).get_output(0)
            return self._first(self.add_dequantize(stored, scale))
        scale = super().constant(step["scale"], step["dtype"])
        stored = self.add_quantize(x, scale, trt.DataType.INT8).get_output(0)
        return self._first(self.add_dequantize(stored, scale, self.type(step["dtype"])))

    def unsqueeze(self, step: dict, x: Any) -> Any:
        return self._first(self.add_unsqueeze(x, super().constant([step["axis"]], "INT64")))

    def shape(self, step: dict, x: Any) -> Any:
        return self._first(self.add_shape(x))
