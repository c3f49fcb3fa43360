"""How TensorRT works, shown stage by stage: convert, optimise, plan memory, choose for the hardware, execute.

Write TensorRT 10's API and PyCUDA; the grader runs the same code on a GPU or, without one, on TensorRT-RTX's builder
and a CPU twin. Models have fixed shapes unless said otherwise, and a name for every node.
"""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pycuda.autoinit  # makes the CUDA context that everything below needs
import pycuda.driver as cuda
import tensorrt as trt

OPSETS = range(7, 18)  # what the ONNX parser of every TensorRT since 8.6 reads
ALIGNMENT = 256  # bytes: kernels count on addresses that are multiples of it
ERRORS = {"INT8": 5e-2, "FP16": 1e-2, "TF32": 1e-2, "FP32": 1e-5}  # max|a-b| / max|b| expected; cheapest first
LOGGER = trt.Logger(trt.Logger.ERROR)


def convert(onnx_path: str) -> dict[str, list[dict[str, Any]]]:
    """Parse an ONNX file into a TensorRT network, and tell what came of it. Bad models do not raise.

    The parser takes a file without a single node (text, say), or of an opset that is too new for it, without a word:
    both are errors here, as is every opset outside OPSETS.

    Args:
        onnx_path: the file.

    Returns:
        "layers": {"name", "type"} of all the network's layers in their order, the parser's own included; "inputs" and
        "outputs": {"name", "dtype", "shape"}; types and dtypes by TensorRT's names ("CONVOLUTION", "FLOAT").
        "errors": {"node", "operator", "reason"} of all the parser's errors in its order: the ONNX node's name and
        operator, "" where no node is to blame; a wrong opset's reason holds its number. With errors the others are [].
    """
    raise NotImplementedError("write me")


def optimise(onnx_path: str) -> tuple[bytes, dict[str, list[Any]]]:
    """Build a plan, without TF32, and read what the builder did from the engine inspector.

    The inspector's "Layers" are kernels, but for those of "LayerType" NoOp and Constant, which launch nothing; they are
    told in full only with ProfilingVerbosity.DETAILED. "Metadata" names a kernel's ONNX nodes: "[ONNX Layer: conv1]".

    Args:
        onnx_path: a good model.

    Returns:
        The plan, and a report on its engine: "kernels": {"name", "layers": the ONNX nodes in it}, in the order in which
        they run; "removed": the ONNX nodes that are in no kernel; "reformats": {"kernel", "from", "to"} of each kernel
        that holds no ONNX node and has one input and one output, of different "Format/Datatype": those two.
    """
    raise NotImplementedError("write me")


def plan_memory(tensors: list[tuple[int, int, int]]) -> list[int]:
    """Place tensors in one arena, so that those that live at the same time never overlap.

    No arena can be smaller than the peak of live bytes; this one is larger by 10% at most, and found within seconds.

    Args:
        tensors: (bytes, first step, last step), both steps included; up to 200 of them, in any order.

    Returns:
        The tensors' offsets in bytes, each a multiple of ALIGNMENT.
    """
    raise NotImplementedError("write me")


def explain_memory(plan: bytes) -> dict[str, int]:
    """Set an engine's activation memory beside what its tensors would need.

    Tensors are those that a kernel writes and that are neither input nor output of the engine, from the first kernel
    that writes one to the last that reads or writes it; a NoOp is none, its output is its input by another name. Bytes
    are elements times the size of what "Format/Datatype" names: FP32, Float, Int32 4; FP16, Half 2; Int8 1 (any case).

    Args:
        plan: a plan built with ProfilingVerbosity.DETAILED and fixed shapes.

    Returns:
        "activation_bytes": what one execution context needs, by the engine's own account; "tensor_bytes": the sum of
        all tensors, as if nothing were reused; "peak_bytes": the most that is live while one kernel runs.
    """
    raise NotImplementedError("write me")


def choose(need: dict[str, Any]) -> list[dict[str, Any]]:
    """Choose the plans to build for a need, and the cheapest precision for each.

    A precision will do where ERRORS promises the error asked for, where activations fit into its range (FP16 ends at
    65504), where it is known how to scale to it (INT8 must be calibrated), and where all GPUs of the plan have it: INT8
    from compute capability 6.1 on, FP16 all but 6.1, TF32 from 8.0 on, FP32 all (NVIDIA's support matrix, 6.0 to 9.0).
    A plan runs on the capability that it was built for. One can serve several, all 8.0 or newer, at some cost in speed.

    Args:
        need: "gpus": compute capabilities as [major, minor]; "max_error": against FP32; "largest_activation";
            "calibrated": bool; "fewest_plans": bool, whether few plans are worth more than the fastest kernels.

    Returns:
        Plans as {"capabilities": [[major, minor], ...], "precision": a key of ERRORS}. Each capability is in one plan;
        capabilities ascend, and so do plans, by their first one.

    Raises:
        ValueError: FP32 is not exact enough.
    """
    raise NotImplementedError("write me")


def build_for(onnx_path: str, choice: dict[str, Any], amax: dict[str, float]) -> bytes:
    """Build one chosen plan, in the precision and for the GPUs of the choice.

    Precision lives in the strongly typed graph; its inputs and outputs stay float32. FP16 casts weights and arithmetic,
    INT8 puts QuantizeLinear and DequantizeLinear before both inputs of each Conv (scale amax / 127, per tensor for data
    and per output channel for weights; zero point 0). TF32 is FP32 with BuilderFlag.TF32 set, FP32 has it cleared.
    A config of TensorRT-RTX has num_compute_capabilities and set_compute_capability. Others build for the GPU that is
    there and, for several capabilities, need HardwareCompatibilityLevel.AMPERE_PLUS.

    Args:
        onnx_path: a float32 model.
        choice: as `choose` gives it.
        amax: the largest magnitude of every tensor, by its name in the model; used by INT8 alone.

    Returns:
        The plan.
    """
    raise NotImplementedError("write me")


def execute(plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run an engine of several inputs and outputs on a stream of its own, and wait for all of them.

    Args:
        plan: a plan, its shapes may be dynamic.
        inputs: arrays by the engine's names, of its dtypes and C-contiguous.

    Returns:
        All outputs by name, of the engine's dtypes, in memory that stays valid. All device memory is freed.

    Raises:
        ValueError: an input is missing, unknown, of another dtype or of a shape outside the profile; the text names it.
    """
    raise NotImplementedError("write me")
