"""Which of the inspector's layers are kernels, on layers written as TensorRT 8.6 tells them. Needs no GPU."""

from __future__ import annotations

from typing import Any

from grader.engines.hardware import _kernels

FORM = "Row major linear FP32"


def layer(name: str, kind: str, given: list[str], made: list[str], metadata: str = "") -> dict[str, Any]:
    def tensors(names: list[str]) -> list[dict[str, Any]]:
        return [{"Name": tensor, "Dimensions": [1, 8], "Format/Datatype": FORM} for tensor in names]

    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": tensors(given),
        "Outputs": tensors(made),
        "Metadata": metadata,
    }


LAYERS = [
    layer("w", "Constant", [], ["w"]),
    layer("conv + relu", "CaskConvolution", ["x", "w"], ["a"], "[ONNX Layer: conv]\x1e[ONNX Layer: relu]"),
    layer("reshape", "NoOp", ["a"], ["b"], "[ONNX Layer: flatten]"),
    layer("again", "NoOp", ["b"], ["c"]),
    layer("fc", "CaskGemmConvolution", ["c", "w"], ["y"], "[ONNX Layer: fc]"),
    layer("fc [profile 1]", "CaskGemmConvolution", ["c [profile 1]"], ["y"], "[ONNX Layer: fc]"),
]


def test_what_launches_nothing_is_no_kernel_and_neither_is_another_profile() -> None:
    kernels = _kernels(LAYERS)
    assert [kernel.name for kernel in kernels] == ["conv + relu", "fc"]
    assert [kernel.layers for kernel in kernels] == [("conv", "relu"), ("fc",)]


def test_a_tensor_keeps_its_name_through_no_ops() -> None:
    conv, fc = _kernels(LAYERS)
    assert [port.name for port in conv.outputs] == [fc.inputs[0].name] == ["a"]
    assert [port.name for port in fc.inputs] == ["a", "w"] and fc.inputs[0].format == FORM


def test_without_detailed_verbosity_there_are_names_alone() -> None:
    assert [(k.name, k.type, k.inputs) for k in _kernels(["conv", "fc"])] == [("conv", "", ()), ("fc", "", ())]
