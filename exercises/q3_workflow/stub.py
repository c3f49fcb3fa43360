"""Take a model from its exporter to answers: prepare it, build an engine, save and load its plan, run it.

Write TensorRT 10's API and PyCUDA; the grader runs it on a GPU or, without one, on TensorRT-RTX's builder and a twin.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import onnx
import pycuda.autoinit  # makes the CUDA context that everything below needs
import pycuda.driver as cuda
import tensorrt as trt
from onnx import reference, shape_inference, version_converter


class WorkflowError(Exception):
    """Raised by every function below for whatever goes wrong. The text starts with its name: "load: no such file".

    prepare: there is no such file, it is no valid model, or a shape is not one of its inputs'.
    build, cached_build: the model does not parse, a profile is impossible, the build failed; with what TensorRT logged.
    save, load: a file cannot be written, or is missing or damaged; or `here` tells something else, with both values.
    run: the plan cannot be loaded, or a request's inputs, dtypes or shapes are none that the engine takes.
    """


class Config(TypedDict):
    """What an engine is built with, besides its model."""

    profiles: list[dict[str, list[list[int]]]]  # for each profile: input name -> [min, opt, max] shapes
    workspace: int  # bytes of scratch memory that kernels may use at most
    level: int  # the builder's optimization level, 0 to 5


def prepare(onnx_path: str, shapes: Mapping[str, Sequence[int | None]]) -> bytes:
    """Make a clean model of what an exporter wrote. It computes the same.

    Clean: opset 17, IR version 8 at most; no Identity, Dropout or Constant nodes, none that depend on no input; nothing
    unused; no weights among the inputs; no Shape nodes once all dimensions are fixed. Names of inputs and outputs stay.

    Args:
        onnx_path: an ONNX file of opset 11 or newer, with its weights in it.
        shapes: input name -> the shape to fix, with None for dimensions to leave as they are.

    Returns:
        The ONNX model, serialized.
    """
    raise NotImplementedError("write me")


def build(model: bytes, config: Config, timing_cache: str | None = None) -> bytes:
    """Build a TensorRT plan, float32 without TF32.

    Args:
        model: an ONNX model of any number of inputs.
        config: what to build with; the engine has its profiles in their order.
        timing_cache: path of a file of kernel timings: read where there is one that TensorRT takes, written afterwards.

    Returns:
        The serialized plan.
    """
    raise NotImplementedError("write me")


def here() -> dict[str, str]:
    """What a plan is bound to.

    Returns:
        "tensorrt": the version, in full; "device": the GPU's name; "compute_capability": such as "9.0".
    """
    raise NotImplementedError("write me")


def save(plan: bytes, path: str, model: bytes, config: Config) -> dict[str, Any]:
    """Write a plan to ``path``, and a record of what it was built with, as JSON, to ``path`` + ".json".

    Args:
        plan: the serialized plan.
        path: the file to write, in a folder that exists.
        model: the ONNX model that the plan was built from.
        config: what it was built with.

    Returns:
        The record: what `here` tells, "plan_sha256" and "model_sha256" (hexadecimal), and "config".
    """
    raise NotImplementedError("write me")


def load(path: str) -> bytes:
    """Read a plan that `save` wrote, if it can be used here.

    Args:
        path: the plan's file, with its record beside it.

    Returns:
        The serialized plan.
    """
    raise NotImplementedError("write me")


def run(plan: bytes, requests: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Answer requests of changing shapes, each in a profile with room for it, with one context and one set of buffers.

    On the device, memory is allocated at most once for each input and output of the engine, and freed in the end.

    Args:
        plan: a serialized plan of one or several profiles.
        requests: for each, input name -> array.

    Returns:
        For each request, in order, output name -> array, which stays as it is when the next is computed.
    """
    raise NotImplementedError("write me")


def cache_key(model: bytes, config: Config, where: Mapping[str, str]) -> str:
    """The name under which a cache keeps a plan: equal for equal content, in any order and process, else different.

    Args:
        model: the ONNX model.
        config: what to build with.
        where: what `here` tells.

    Returns:
        16 to 128 letters and digits.
    """
    raise NotImplementedError("write me")


def cached_build(onnx_path: str, config: Config, folder: str) -> tuple[bytes, str]:
    """Take a plan from the cache, or build it and put it there. A file there that `load` refuses is built anew.

    Args:
        onnx_path: an ONNX file.
        config: what to build with.
        folder: the cache's, made where it does not exist; plans are in it as `save` writes them.

    Returns:
        The plan, and the path of its file.
    """
    raise NotImplementedError("write me")
