"""What every runtime object of the twin shares: the device, the log, the seal's key and the runs so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorrt_rtx as trt

from .driver import Driver
from .loaded import LoadedPlans

Log = Callable[[trt.ILogger.Severity, str], None]
_ERROR = trt.ILogger.Severity.ERROR
#: What the audit keeps of a call's runs.
MOST_RUNS, MOST_ARRAYS, MOST_RUN_BYTES = 200, 2000, 512 << 20
#: An input of so many bytes that is the same as in the run before is kept, and told, once.
_LARGE = 1 << 20


@dataclass(frozen=True)
class Run:
    """One execution, as the device saw it: arrays by tensor name."""

    plan: str  #: `plan.digest`
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    line: str
    device_memory: int = 0  #: the address of the caller's memory that it computed in; 0 for the context's own


@dataclass
class World:
    """What every runtime object shares: the device, the log, the seal's key and the runs so far."""

    driver: Driver
    log: Log
    key: bytes
    plans: LoadedPlans
    runs: list[Run] = field(default_factory=list)
    dropped_runs: int = 0  #: those of which only the number is kept
    _uses: dict[int, int] = field(default_factory=dict)  # of each array of theirs, by id
    _bytes: int = 0  # of these arrays

    def record(self, run: Run) -> None:
        """Keep a run for the audit. A loop's older ones go, so that the audit stays of a size that can be sent."""
        before = self.runs[-1].inputs if self.runs else {}
        for name, array in run.inputs.items():
            same = before.get(name)
            if (
                array.nbytes >= _LARGE
                and same is not None
                and same.dtype == array.dtype
                and np.array_equal(same, array)
            ):
                run.inputs[name] = same
        self.runs.append(run)
        for array in _arrays(run):
            used = self._uses.get(id(array), 0)
            self._uses[id(array)] = used + 1
            self._bytes += 0 if used else array.nbytes
        while not self._audit_fits():
            self._drop(self.runs.pop(0))
            self.dropped_runs += 1

    def _drop(self, run: Run) -> None:
        for array in _arrays(run):
            used = self._uses.pop(id(array))
            if used > 1:
                self._uses[id(array)] = used - 1
            else:
                self._bytes -= array.nbytes

    def forget_runs(self) -> None:
        self.runs.clear()
        self._uses.clear()
        self._bytes = self.dropped_runs = 0

    def told_runs(self) -> list[dict[str, Any]]:
        """The runs for the audit: "as_before" names the inputs that are those of the run before, and left out."""
        told = []
        for number, run in enumerate(self.runs):
            before = self.runs[number - 1].inputs if number else {}
            shared = [
                name for name, array in run.inputs.items() if array.nbytes >= _LARGE and before.get(name) is array
            ]
            inputs = {name: array for name, array in run.inputs.items() if name not in shared}
            told.append(dict(vars(run)) | {"inputs": inputs, "as_before": shared})
        return told

    def _audit_fits(self) -> bool:
        return len(self.runs) <= MOST_RUNS and len(self._uses) <= MOST_ARRAYS and self._bytes <= MOST_RUN_BYTES

    def refuse(self, where: str, what: str) -> None:
        """Log an error the way TensorRT does."""
        self.log(_ERROR, f"{where}: Error Code 3: API Usage Error ({what})")


def _arrays(run: Run) -> tuple[np.ndarray, ...]:
    return *run.inputs.values(), *run.outputs.values()
