"""Runs a walked network: the twin's arithmetic, on the CPU, through ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

#: `trt.DataType` name -> NumPy dtype name of a tensor's bytes.
NUMPY = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}


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
        try:
            self._session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise ExecutionError(_first_line(error)) from error
        self.outputs = [o.name for o in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, for inputs by name. Raises ExecutionError."""
        try:
            return dict(zip(self.outputs, self._session.run(self.outputs, dict(inputs)), strict=True))
        except self._errors as error:
            raise ExecutionError(_first_line(error)) from error


def _errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions, which share no base but Exception, and those of its binding."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = tuple(v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception))
    return (*own, RuntimeError, ValueError, TypeError, MemoryError)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:500] if str(error).strip() else type(error).__name__
