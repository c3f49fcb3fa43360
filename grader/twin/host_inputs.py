"""Inputs that are shape tensors: their values lie in the candidate's process, and decide other tensors' shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .executor import NUMPY

if TYPE_CHECKING:
    from .runtime import ICudaEngine

_MOST_KNOWN = 256
Shapes = dict[str, tuple[int, ...]]


class HostInputs:
    """Of one execution context: the values that its client read from the addresses it was given."""

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._values: dict[str, np.ndarray] = {}
        self._known: dict[tuple, Shapes] = {}

    def set(self, name: str, data: bytes, profile: int) -> str:
        """Take the values; "" or what is wrong with them."""
        self._values.pop(name, None)
        tensor = self._engine.io[name]
        dtype = np.dtype(NUMPY[tensor.dtype])
        size = int(np.prod(tensor.shape)) * dtype.itemsize
        if len(data) != size:
            raise ValueError(f"input {name!r}: {len(data)} bytes of values, not {size}")
        values = np.frombuffer(data, np.uint8).view(dtype).reshape(tensor.shape)
        low, _, high = self._engine.bounds(name, profile)
        flat = tuple(int(v) for v in values.reshape(-1))
        if not all(a <= v <= b for a, v, b in zip(low, flat, high, strict=True)):
            return f"shape input {name!r}: the values {flat} are outside the profile, {low} to {high}"
        self._values[name] = values.copy()
        return ""

    def missing(self) -> list[str]:
        return [name for name in self._engine.host_inputs if name not in self._values]

    def values(self) -> dict[str, np.ndarray]:
        return {name: self._values[name] for name in self._engine.host_inputs}

    def outputs(self, shapes: Shapes) -> Shapes:
        """Output shapes by name. Raises ExecutionError for values that do not fit the shapes."""
        if not self._engine.host_inputs:
            return self._engine.shapes.outputs(shapes)
        key = (*sorted(shapes.items()), *(v.tobytes() for v in self.values().values()))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._measure(shapes)
        return self._known[key]

    def _measure(self, shapes: Shapes) -> Shapes:
        """Runs the network on zeros: with the values given, nothing else decides a shape."""
        io, values = self._engine.io, self.values()
        filled = {n: np.zeros(s, NUMPY[io[n].dtype]) for n, s in shapes.items() if n not in values}
        return {name: array.shape for name, array in self._engine.executor.run(filled | values).items()}
