"""Runs a walked network: the twin's arithmetic, on the CPU, through ONNX Runtime."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping

import numpy as np

from .layers.weights import narrowed, widened

#: `trt.DataType` name -> NumPy dtype name of a tensor's bytes.
NUMPY = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "uint16",  # its bits: NumPy has no such type
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}

#: Optimizers of ONNX Runtime that change results: this one makes a padding of zeros a MaxPool's own, which is of -inf.
_WRONG = ["Pad_Fusion"]


class ExecutionError(RuntimeError):
    """The network cannot be run on these inputs; the text is ONNX Runtime's."""


class Executor:
    """One network, ready to run. Not thread-safe, like an execution context."""

    def __init__(self, network: bytes) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        # Idle threads sleep instead of spinning: grader, worker, device and runner share the same few cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._errors = _errors()
        ort.set_seed(secrets.randbits(32))  # else what is drawn in a session is drawn in each: random fills are not so
        try:
            self._session = ort.InferenceSession(
                network, options, providers=["CPUExecutionProvider"], disabled_optimizers=_WRONG
            )
        except self._errors as error:
            raise ExecutionError(_first_line(error)) from error
        self.outputs = [o.name for o in self._session.get_outputs()]
        #: Tensors of type BF16, which the network computes as FP32.
        self._bf16 = set(json.loads(self._session.get_modelmeta().custom_metadata_map.get("BF16", "[]")))

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, for inputs by name; BF16 is uint16 in both. Raises ExecutionError."""
        given = {n: widened(a) if n in self._bf16 and a.dtype == np.uint16 else a for n, a in inputs.items()}
        try:
            results = dict(zip(self.outputs, self._session.run(self.outputs, given), strict=True))
        except self._errors as error:
            raise ExecutionError(_first_line(error)) from error
        return {n: narrowed(a) if n in self._bf16 else a for n, a in results.items()}


def _errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions, which share no base but Exception, and those of its binding."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = tuple(v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception))
    return (*own, RuntimeError, ValueError, TypeError, MemoryError)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:500] if str(error).strip() else type(error).__name__
