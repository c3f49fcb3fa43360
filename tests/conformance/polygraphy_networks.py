"""Polygraphy, an independent client of TensorRT-RTX, on the project's own models: it builds, the twin executes.

    python -m tests.conformance.polygraphy_networks

prints a row per model: what of its inputs and outputs are not the model's, and the error of the walked network,
max|a-b| / max|b|, to ONNX Runtime on the original. A GPU is what Polygraphy's plan would need to run.
"""

from __future__ import annotations

import os

os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"  # Polygraphy reads it once, when it is imported

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from polygraphy.backend.trt import CreateConfig, Profile, engine_bytes_from_network, network_from_onnx_bytes
from polygraphy.logger import G_LOGGER

from grader.fixtures.efficientnet import efficientnet_lite0_onnx
from grader.fixtures.speech.phoneme_ctc import phoneme_ctc_onnx
from grader.fixtures.speech.whisper_onnx import decoder_onnx, encoder_onnx
from grader.judging.judge import error_of
from grader.twin.executor import Executor
from grader.twin.walk import io_tensors, walk

#: Of the symbolic sizes; samples of half a second.
_SIZES = {"batch": 2, "new": 3, "past": 4, "samples": 8000}


@dataclass(frozen=True)
class Row:
    """``error`` is the largest over the outputs; ``wrong`` names inputs and outputs that differ from the model's."""

    model: str
    plan_bytes: int
    layers: int
    error: float
    bound: float
    wrong: tuple[str, ...]


_MODELS: list[tuple[Callable[[], Path], float]] = [
    (efficientnet_lite0_onnx, 1e-3),
    (lambda: encoder_onnx("float32"), 1e-3),
    (lambda: decoder_onnx("float32"), 1e-3),
    (lambda: decoder_onnx("float16"), 1e-2),
    (phoneme_ctc_onnx, 1e-2),
]


def rows() -> Iterator[Row]:
    """Parse and build with Polygraphy, walk its network, run both."""
    G_LOGGER.module_severity = G_LOGGER.ERROR
    for make, bound in _MODELS:
        path = make()
        yield _row(path, bound)


def _row(path: Path, bound: float) -> Row:
    model = onnx.load(str(path))
    inputs = _inputs(model.graph)
    profile = Profile()
    for name, array in inputs.items():
        profile.add(name, array.shape, array.shape, array.shape)
    builder, network, parser = network_from_onnx_bytes(path.read_bytes(), strongly_typed=True)
    with builder, network, parser:
        plan = engine_bytes_from_network((builder, network, parser), CreateConfig(profiles=[profile]))
        told = {(t.name, t.is_input, len(t.shape)) for t in io_tensors(network)}
        got = Executor(walk(network)).run(inputs)
        layers = network.num_layers
    wanted = {
        (v.name, v in model.graph.input, len(v.type.tensor_type.shape.dim))
        for v in (*model.graph.input, *model.graph.output)
    }
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    want = dict(zip(names, session.run(names, inputs), strict=True))
    wrong = [str(each) for each in told ^ wanted]
    wrong += [name for name in names if got[name].shape != want[name].shape or got[name].dtype != want[name].dtype]
    error = max(_error(name, got[name], want[name]) for name in names if name not in wrong)
    return Row(path.name, len(bytes(plan)), layers, error, bound, tuple(wrong))


def _error(name: str, got: np.ndarray, want: np.ndarray) -> float:
    """Of log_probs, the probabilities': TensorRT's parser takes the logarithm of a softmax, which is 0 in places."""
    return error_of(np.exp(got), np.exp(want)) if name == "log_probs" else error_of(got, want)


def _inputs(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Drawn values; integers are small, and lengths those of the samples."""
    rng = np.random.default_rng(0)
    found = {}
    for value in graph.input:
        tensor = value.type.tensor_type
        shape = tuple(_SIZES[d.dim_param] if d.dim_param else d.dim_value for d in tensor.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if value.name == "waveform_lengths":
            found[value.name] = np.full(shape, _SIZES["samples"], dtype)
        elif value.name == "positions":
            found[value.name] = np.arange(_SIZES["past"], _SIZES["past"] + shape[0], dtype=dtype)
        elif dtype.kind in "iu":
            found[value.name] = rng.integers(0, 50, shape).astype(dtype)
        else:
            found[value.name] = rng.normal(0, 0.5, shape).astype(dtype)
    return found


def main() -> None:
    for row in rows():
        told = f"{row.layers} layers, plan of {row.plan_bytes} bytes, error {row.error:.1e}"
        print(f"{row.model}: {told}{'; differs: ' if row.wrong else ''}{', '.join(row.wrong)}", flush=True)


if __name__ == "__main__":
    main()
