"""One of the twin's test programs on a real GPU, in a process of its own; or the plans that they load.

    python program_process.py plans FOLDER            builds them; prints why some are missing
    python program_process.py run FILE FOLDER ARGS    runs ``main(*ARGS)`` of FILE in FOLDER; prints the outcome

Both print JSON, as their last line. ``line`` of an outcome is the program's line that raised; of one that ends in a
signal, faulthandler writes it to standard error.

`programs` starts it: what is wrong in a program may end the process, or hang it.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


def _install() -> Any:
    sys.path[:0] = [str(_ROOT / "grader" / "inside"), str(_ROOT / "tests" / "twin" / "programs")]
    bridge = importlib.import_module("trtprep_worker.bridge")
    bridge.install("gpu", {"optimization_level": 0})
    return importlib.import_module("tensorrt")


def _plans(folder: Path) -> None:
    """The plans of `tests/twin/plans.py`, as this TensorRT builds them."""
    trt = _install()
    missing = {}
    for name in _NETWORKS:
        logger = trt.Logger(trt.Logger.ERROR)
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        config = builder.create_builder_config()
        try:
            output = _NETWORKS[name](trt, builder, network, config)
            output.name = "z" if name == "two" else "y"
            network.mark_output(output)
            plan = builder.build_serialized_network(network, config)
        except Exception as error:  # noqa: BLE001 (an older TensorRT lacks what it lacks)
            plan, missing[name] = None, f"{type(error).__name__}: {error}"
        if plan is None:
            missing.setdefault(name, "the builder refuses it")
        else:
            (folder / f"{name}.plan").write_bytes(bytes(plan))
    print(json.dumps({"tensorrt": trt.__version__, "missing": missing}))


def _relu(trt: Any, builder: Any, network: Any, config: Any, shape: Any = (2, 3), dtype: str = "FLOAT") -> Any:
    x = network.add_input("x", getattr(trt.DataType, dtype), shape)
    y = network.add_activation(x, trt.ActivationType.RELU).get_output(0)
    if dtype == "HALF" and trt.__version__.startswith("8."):
        y.dtype = trt.DataType.HALF
    return y


def _batch(trt: Any, builder: Any, network: Any, config: Any) -> Any:
    for most, best in ((4, 2), (8, 4)):
        profile = builder.create_optimization_profile()
        profile.set_shape("x", (1, 4), (best, 4), (most, 4))
        config.add_optimization_profile(profile)
    return _relu(trt, builder, network, config, (-1, 4))


def _bytes(trt: Any, builder: Any, network: Any, config: Any) -> Any:
    x = network.add_input("x", trt.DataType.INT32, (2, 3))
    return network.add_cast(x, trt.DataType.FLOAT).get_output(0)


def _two(trt: Any, builder: Any, network: Any, config: Any) -> Any:
    x, y = (network.add_input(name, trt.DataType.FLOAT, (2, 3)) for name in "xy")
    return network.add_elementwise(x, y, trt.ElementWiseOperation.SUM).get_output(0)


def _soft(trt: Any, builder: Any, network: Any, config: Any) -> Any:
    tensor = network.add_input("x", trt.DataType.FLOAT, (64, 64))
    for axes in (1, 2):
        layer = network.add_softmax(tensor)
        layer.axes = axes
        tensor = layer.get_output(0)
    return tensor


_NETWORKS: dict[str, Any] = {
    "relu": _relu, "half": lambda *a: _relu(*a, dtype="HALF"), "bytes": _bytes, "batch": _batch, "two": _two,
    "scalar": lambda *a: _relu(*a, shape=()), "soft": _soft,
}  # fmt: skip


def _run(source: Path, folder: Path, arguments: list[Any]) -> None:
    _install()
    os.chdir(folder)
    told = {"type": "", "message": "", "line": ""}
    faulthandler.enable()
    text = source.read_text()
    names: dict[str, Any] = {"__name__": "answer"}
    try:
        exec(compile(text, str(source), "exec"), names)
        names["main"](*arguments)
    except BaseException as error:  # noqa: BLE001 (the outcome, whatever it is)
        at = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(source)]
        line = text.splitlines()[at[-1] - 1] if at and at[-1] else ""
        told = {"type": type(error).__name__, "message": str(error), "line": line}
    gc.collect()
    print(f"\n{json.dumps(told)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "plans":
        _plans(Path(sys.argv[2]))
    else:
        _run(Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
