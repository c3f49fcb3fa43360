"""Apply TensorRT's optimization techniques, and return the figures that show that they work.

Fusion, FP16 and INT8 are done to an ONNX model; shared activation memory, overlap and CUDA graphs to the host code
that runs a plan. Write TensorRT 10's API, PyCUDA, and cuda.bindings.runtime for CUDA graphs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pycuda.autoprimaryctx  # the context that CUDA's runtime API, and so cuda.bindings.runtime, uses too
import pycuda.driver as cuda
import tensorrt as trt
from cuda.bindings import runtime as cudart
from onnx import TensorProto, helper, numpy_helper

BATCHES = (1, 8, 32)  # min, opt and max batch of the engines that are built here
LOGGER = trt.Logger(trt.Logger.WARNING)


def unblock_fusion(onnx_path: str, outputs: Sequence[str]) -> tuple[bytes, dict[str, int]]:
    """Rewrite a convolutional graph so that TensorRT can fuse again, with unchanged answers.

    README.md lists the six ways in which its author may have blocked fusion. What only looks like one of them stays.

    Args:
        onnx_path: an ONNX file, opset 17, float32; dimension 0, the batch, is dynamic.
        outputs: the outputs that are wanted; any others were left there by somebody who was debugging.

    Returns:
        The new model: the same input, the wanted outputs, no more kernels than the graph without the blocks has.
        And {"kernels_before": int, "kernels_after": int}: how many kernels each model becomes, built strongly typed for
        batches `BATCHES`, without TF32. Kernels are the engine inspector's layers, but for those of the "LayerType"
        NoOp and Constant, which TensorRT 8 and 10 list although nothing is launched for them.
    """
    raise NotImplementedError("write me")


def to_fp16(onnx_path: str, keep: Sequence[str]) -> bytes:
    """Put FP16 into a graph: all floating-point arithmetic becomes float16, but for the nodes that are named.

    Args:
        onnx_path: an ONNX file, opset 17, in float32.
        keep: names of nodes whose inputs and outputs stay float32, with casts around them where they are needed.

    Returns:
        The new model. Its inputs and outputs keep their names and types; its nodes keep their names.
    """
    raise NotImplementedError("write me")


def calibrate(onnx_path: str, samples: np.ndarray, method: str = "max") -> dict[str, float]:
    """Find the scale of each activation that INT8 needs, by running the samples through an engine.

    Asked for are the tensors that a Conv or Gemm node with constant weights takes as its first input. The scale is
    a / 127, where a is, over all samples together, the largest |x| ("max") or the 99.9th percentile of |x| as
    numpy.percentile has it ("percentile").

    Args:
        onnx_path: an ONNX file, opset 17, float32, with one input whose dimension 0, the batch, is dynamic.
        samples: float32 [n, ...], as many as there are: an engine takes 1 to 32 at once.
        method: "max" or "percentile".

    Returns:
        The scale of each tensor by its name in the ONNX file.

    Raises:
        ValueError: another method.
    """
    raise NotImplementedError("write me")


def quantize(onnx_path: str, scales: dict[str, float]) -> bytes:
    """Put INT8 into a graph, explicitly: QuantizeLinear and DequantizeLinear pairs, symmetric, zero points of 0.

    Each Conv or Gemm node with constant weights whose first input has a scale gets a pair on that input, with that
    scale, and a pair on its weights, with a scale for each output channel: max|w| of the channel / 127. All other
    nodes stay as they are, and so do biases.

    Args:
        onnx_path: an ONNX file, opset 17, float32. Gemm has transB = 1.
        scales: by name of the tensor, as from `calibrate`; there may be none for some tensors.

    Returns:
        The new model, with the same inputs and outputs.
    """
    raise NotImplementedError("write me")


def run_shared(plans: Sequence[bytes], inputs: Sequence[np.ndarray], passes: int = 1) -> tuple[list[np.ndarray], int]:
    """Run several engines one after the other on one stream, with one activation buffer for all of their contexts.

    Contexts of the strategy USER_MANAGED have no memory of their own: the buffer is yours, as large as the largest
    need. Inputs and outputs are staged in pinned memory, before the first pass; the copies are asynchronous.

    Args:
        plans: serialized plans, each with one input and one output.
        inputs: one batch for each plan.
        passes: how often to do it all: copies in, engines, copies out. Wait once, after the last.

    Returns:
        Each engine's output, in the plans' order, and the bytes of the activation buffer. All device memory is freed.
    """
    raise NotImplementedError("write me")


def run_overlapped(plan: bytes, batches: Sequence[np.ndarray], passes: int = 1) -> list[np.ndarray]:
    """Run batches so that a batch is copied in while another computes and a third is copied out.

    Three streams: one for copies in, one for the engine, one for copies out, and events between them. Two device
    buffers each for input and output, used in turn. All batches are staged in pinned memory before the first pass.

    Args:
        plan: a serialized plan with one input and one output.
        batches: at least two, of one shape.
        passes: how often to do all batches; the outputs of the last pass are returned. Wait once, after the last.

    Returns:
        The output of each batch, in order. All device memory is freed.
    """
    raise NotImplementedError("write me")


def run_graphed(
    plan: bytes, requests: Sequence[np.ndarray], passes: int = 1
) -> tuple[list[np.ndarray], dict[str, int]]:
    """Answer requests by replaying a CUDA graph of the engine's work, captured anew whenever the shape changes.

    For each request: copy in, launch the graph, copy out, wait. The graph holds the engine's work alone. It is captured
    when a request's shape is not that of the request before it, after one plain enqueue with the new shape (TensorRT
    leaves some work to the first one). Requests are staged in pinned memory before the first pass.

    Args:
        plan: a serialized plan with one input and one output.
        requests: of any shapes that the engine takes.
        passes: how often to do all requests; the outputs of the last pass are returned.

    Returns:
        The output of each request, in order, and {"captures": int, "launches": int}. All device memory is freed.
    """
    raise NotImplementedError("write me")
