"""How each TensorRT layer is said in ONNX: one small function per `trt.LayerType`, a file per family.

A function takes the layer (of its own class, so that its attributes are there) and the `Graph`
being written, and adds nodes whose results carry the names of the layer's outputs::

    @translates("SOFTMAX")
    def softmax(layer, graph):
        graph.node("Softmax", [graph.input(layer)], layer, axis=...)

To add a layer type, write such a function in the file of its family; nothing else changes.
"""

from __future__ import annotations

from .graph import LAYERS, Graph, Unsupported, translates

__all__ = ["LAYERS", "Graph", "Unsupported", "translates"]

from . import (  # noqa: F401 (they register)
    attention,
    control,
    convolution,
    elementwise,
    indexing,
    linear,
    normalization,
    quantization,
    reduction,
    shape,
)
