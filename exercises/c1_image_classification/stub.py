"""Classify photos with a TensorRT engine: decode, preprocess, build, run, name the classes.

The model is EfficientNet-Lite0. Its input "images" is float32 [batch, 3, 224, 224] in RGB, its
output "logits" float32 [batch, 1000]. Write TensorRT 10's API and PyCUDA; the grader runs the same
code on a GPU or, without one, on TensorRT-RTX's builder and a CPU twin.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pycuda.autoinit  # makes the CUDA context that everything below needs
import pycuda.driver as cuda
import tensorrt as trt

RESIZE, CROP = 256, 224
MEAN, SCALE = 127.0, 128.0
MAX_BATCH = 32
LOGGER = trt.Logger(trt.Logger.WARNING)


def preprocess(photo: str) -> np.ndarray:
    """Turn an image file into the model's input, as the model was trained.

    Resize so that the shorter side is 256 and the longer round(longer * 256 / shorter), bilinearly
    (cv2.INTER_LINEAR); crop the central 224 x 224, from row (height - 224) // 2 and column
    (width - 224) // 2; RGB; (x - 127) / 128. Any size, larger or smaller; greyscale becomes three
    equal channels; an alpha channel is dropped.

    Args:
        photo: path of a JPEG, PNG or other file that OpenCV decodes.

    Returns:
        float32 [1, 3, 224, 224], C-contiguous.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image.
    """
    raise NotImplementedError("write me")


def build_engine(onnx_path: str, fp16: bool = False) -> bytes:
    """Build a TensorRT plan of an ONNX model for any batch from 1 to 32.

    The network is strongly typed, so precision lives in the graph: for ``fp16`` the model's weights
    and arithmetic become float16, while its inputs and outputs stay float32.

    Args:
        onnx_path: an ONNX file whose only dynamic dimension is the batch, dimension 0 of its inputs.
        fp16: whether to compute in float16.

    Returns:
        The serialized plan.

    Raises:
        ValueError: the file is not a model that TensorRT parses; the text holds the parser's first error.
        RuntimeError: the build failed.
    """
    raise NotImplementedError("write me")


def run_engine(plan: bytes, batch: np.ndarray) -> np.ndarray:
    """Run an engine with one input and one output on a GPU, and wait for its result.

    Args:
        plan: a serialized plan; tensor names are the engine's own.
        batch: [batch, ...] of the input's dtype and shape; any batch within the engine's profile.

    Returns:
        The output, an array of the output's dtype and shape that stays valid. All device memory is freed.

    Raises:
        ValueError: TensorRT cannot load the plan, or the batch is outside the engine's profile.
    """
    raise NotImplementedError("write me")


def classify(plan: bytes, photos: Sequence[str], labels: Sequence[str], k: int = 5) -> list[list[tuple[str, float]]]:
    """Name what is on each photo, running all photos in as few batches as the engine allows (32 at most).

    Args:
        plan: a plan from `build_engine`.
        photos: paths of image files, at least one.
        labels: the classes' names, in the order of the logits.
        k: how many classes to return per photo.

    Returns:
        For each photo, in the order given, the k likeliest classes as (label, probability), likeliest
        first; probabilities are the softmax over all classes.

    Raises:
        FileNotFoundError, ValueError: as `preprocess` and `run_engine`; the text names the photo.
    """
    raise NotImplementedError("write me")
