"""The plans that the twin's tests run: small networks, built once a session by the real builder."""

from __future__ import annotations

import numpy as np
import tensorrt_rtx as trt
from onnx import TensorProto, helper

from grader.twin.driver import Driver
from grader.twin.plan import seal
from grader.twin.session import Session


class Maker:
    """Calls on a `Session` as the device makes them, for tests that need no second process."""

    def __init__(self, key: bytes) -> None:
        self.session = Session(Driver(), key)
        self.builder = self.session.new("Builder", [])

    def network(self) -> dict:
        return self.call(self.builder, "create_network", 0)

    def call(self, target: dict, name: str, *args: object, **kwargs: object) -> object:
        return self.session.call(target["id"], name, list(args), kwargs)

    def get(self, target: dict, name: str) -> object:
        return self.session.get(target["id"], name)

    def set(self, target: dict, name: str, value: object) -> None:
        self.session.set(target["id"], name, value)

    def build(self, network: dict, profiles: list[dict] | None = None) -> bytes:
        config = self.call(self.builder, "create_builder_config")
        for shapes in profiles or []:
            profile = self.call(self.builder, "create_optimization_profile")
            for name, three in shapes.items():
                self.call(profile, "set_shape", name, *three)
            self.call(config, "add_optimization_profile", profile)
        return self.call(self.builder, "build_serialized_network", network, config)["data"]


def enum(cls: str, name: str) -> dict[str, str]:
    return {"@": "enum", "class": cls, "name": name}


def all_plans(key: bytes) -> dict[str, bytes]:
    """By name. ``relu``, ``half``, ``bytes`` and ``two`` (x + y) are 2x3; ``batch`` is -1x4, profiles to 4 and 8.

    ``soft``, the softmax of each row of the softmax of each column of 64x64, alone needs activation memory.
    """
    make = Maker(key)
    return {
        "relu": make.build(_relu(make, (2, 3))),
        "half": make.build(_relu(make, (2, 3), "HALF")),
        "bytes": make.build(_cast(make)),
        "batch": make.build(_relu(make, (-1, 4)), [{"x": ((1, 4), (2, 4), (4, 4))}, {"x": ((1, 4), (4, 4), (8, 4))}]),
        "two": make.build(_sum(make)),
        "scalar": make.build(_relu(make, ())),
        "soft": make.build(_soft(make)),
    }


def _relu(make: Maker, shape: tuple[int, ...], dtype: str = "FLOAT") -> dict:
    network = make.network()
    x = make.call(network, "add_input", "x", enum("DataType", dtype), shape)
    layer = make.call(network, "add_activation", x, enum("ActivationType", "RELU"))
    return _finish(make, network, layer)


def _cast(make: Maker) -> dict:
    network = make.network()
    x = make.call(network, "add_input", "x", enum("DataType", "INT32"), (2, 3))
    return _finish(make, network, make.call(network, "add_cast", x, enum("DataType", "FLOAT")))


def _soft(make: Maker) -> dict:
    network = make.network()
    columns = make.call(
        network, "add_softmax", make.call(network, "add_input", "x", enum("DataType", "FLOAT"), (64, 64))
    )
    make.set(columns, "axes", 1 << 0)
    rows = make.call(network, "add_softmax", make.call(columns, "get_output", 0))
    make.set(rows, "axes", 1 << 1)
    return _finish(make, network, rows)


def _sum(make: Maker) -> dict:
    network = make.network()
    x, y = (make.call(network, "add_input", name, enum("DataType", "FLOAT"), (2, 3)) for name in ("x", "y"))
    layer = make.call(network, "add_elementwise", x, y, enum("ElementWiseOperation", "SUM"))
    return _finish(make, network, layer, "z")


def _finish(make: Maker, network: dict, layer: dict, name: str = "y") -> dict:
    y = make.call(layer, "get_output", 0)
    make.set(y, "name", name)
    make.call(network, "mark_output", y)
    return network


def other_version(plan: bytes, key: bytes) -> bytes:
    """The same plan, as another version of TensorRT-RTX would have made it."""
    from dataclasses import replace

    from grader.twin.plan import unseal

    opened = unseal(plan, key, trt.__version__)
    return seal(replace(opened, description=replace(opened.description, tensorrt="1.0.0.1")), key)


def onnx_relu(shape: tuple[int, ...] = (2, 3), op: str = "Relu") -> bytes:
    """An ONNX model with one node, x -> y."""
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy"]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], name="only")], "g", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def relu(array: np.ndarray) -> np.ndarray:
    return np.maximum(array, 0)
