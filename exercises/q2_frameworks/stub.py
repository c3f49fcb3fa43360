"""Bring PyTorch, TensorFlow, Keras and Caffe models to engines that give the frameworks' own answers.

Write TensorRT 10's API; the grader runs it on a GPU or, without one, on TensorRT-RTX's builder and a twin. Import a
framework inside the function that needs it: not everybody has all of them.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import math
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import caffe_pb2
import numpy as np
import onnx
import tensorrt as trt
from google.protobuf import text_format
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    import torch


class ModelError(ValueError):
    """Raised for a file that is damaged or incomplete, or asks for what is not known. Its text names what and where."""


def from_pytorch(module: torch.nn.Module, example: torch.Tensor) -> bytes:
    """Export a module to ONNX such that TensorRT parses it, and any batch gets what the module answers in inference.

    Modules are of `grader/fixtures/frameworks/torch_networks.py`, and come as they were trained: in training mode, with
    Python's branches and loops over tensors, one with an operator that TensorRT does not have.

    Args:
        module: it takes one float32 tensor [batch, channels, height, width], and gives [batch, classes].
        example: one input, of any batch.

    Returns:
        An ONNX model, opset 17: "input" to "output", float32, with a dynamic batch and no If or Loop nodes.
    """
    raise NotImplementedError("write me")


def from_tensorflow(folder: str, signature: str, batches: Sequence[int]) -> bytes:
    """Build a float32 TensorRT plan (no TF32) from a SavedModel, through tf2onnx.

    Args:
        folder: a SavedModel of a model whose images are NHWC.
        signature: the signature to serve, of one input.
        batches: the smallest, usual and largest batch.

    Returns:
        The plan. Its input has the name of the signature's, and is NCHW; its outputs have the signature's names.

    Raises:
        ModelError: this is no SavedModel, or its variables or the signature are not there (it names those that are).
    """
    raise NotImplementedError("write me")


def from_keras(path: str, batches: Sequence[int]) -> bytes:
    """Build a float32 TensorRT plan (no TF32) from a `.keras` file, exported by Keras itself.

    Args:
        path: the file, of a model with one input. Any backend that is installed may load it.
        batches: the smallest, usual and largest batch.

    Returns:
        The plan. Its input is as the model takes it (NHWC) and has its name; its outputs have the names that Keras
        knows them by (``model.output_names``).

    Raises:
        ModelError: the file is damaged, or is no Keras model.
    """
    raise NotImplementedError("write me")


def from_caffe(prototxt: str, caffemodel: str, batches: Sequence[int]) -> bytes:
    """Build a float32 TensorRT plan (no TF32) from Caffe's two files, layer by layer with the network API.

    What is built is the test phase (level 0, no stages). Layers: Input, Convolution, Pooling, InnerProduct, ReLU, LRN,
    BatchNorm, Scale, Eltwise, Concat, Dropout, Softmax. ``caffe_pb2`` is given; its .proto is beside it.

    Args:
        prototxt: the network. It may hold fields that ``caffe_pb2`` lacks, of training for one.
        caffemodel: the weights, by the names of their layers.
        batches: the smallest, usual and largest batch; that of the prototxt does not matter.

    Returns:
        The plan. Its inputs and outputs have the names of Caffe's: outputs are the tops that no layer takes.

    Raises:
        ModelError: a file is damaged; or a layer, which is named, is of another type or of the V1 form, asks for what
            is not known, takes what no layer makes, or has not the weights that it needs.
    """
    raise NotImplementedError("write me")


def repair_onnx(path: str) -> bytes:
    """Make a model of another exporter one that every TensorRT since 8.6 takes. It computes the same, for any batch.

    What exporters leave (of scikit-learn, JAX, PaddlePaddle): an opset up to 21, with other forms of operators
    (ReduceMean, Split) or new ones (Gelu); a newer IR version; float64; a batch that is fixed in the input and in the
    constant shapes of Reshape and Expand. The batch is always the first dimension.

    Args:
        path: an ONNX file with its weights in it.

    Returns:
        The model: opset 17, in valid forms of it; IR version 8 at most; float32 in the place of float64, inputs and
        outputs included; the batch of the inputs and outputs open. The names of inputs and outputs stay.

    Raises:
        ModelError: the file is missing, damaged or no ONNX model; or, naming it, an operator is not ONNX's own (but of
            ai.onnx.ml, say) or has no form in opset 17, or nothing provides an input of a node.
    """
    raise NotImplementedError("write me")
