"""The twin's `cuda.bindings.runtime` beside the real one: names, numbers, texts, arguments and answers."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cuda.bindings import driver as real_driver
from cuda.bindings import runtime as real

from grader.twin.misuse import CODES
from tests.twin.capture_cases import PRELUDE
from tests.twin.harness import Twin

_INSIDE = Path(__file__).resolve().parents[2] / "grader" / "inside"
_TOLD = """
import inspect, json, sys
sys.path[:0] = sys.argv[1:]
from cuda.bindings import runtime
functions = {n: list(inspect.signature(f).parameters) for n, f in vars(runtime).items() if inspect.isfunction(f)}
values = {n: v for n, v in vars(runtime).items() if n.startswith(("cuda", "CUDART")) and isinstance(v, int)}
classes = [n for n, v in vars(runtime).items() if isinstance(v, type)]
import cuda.pathfinder  # the other packages of `cuda` are still there
from cuda.bindings import driver
api = {n: f for n, f in vars(driver).items() if n.startswith("cu") and inspect.isfunction(f)}
api = {n: list(inspect.signature(f).parameters) for n, f in api.items()}
enums = (driver.CUresult, driver.CUdevice_attribute)
enums = {e.__name__: {m: int(v) for m, v in e.__members__.items()} for e in enums}
print(json.dumps([functions, values, classes, runtime.__file__, api, enums]))
"""


@pytest.fixture(scope="module")
def numbers() -> ModuleType:
    """The twin's numbers, loaded on their own: in this process `cuda.bindings` is the real one."""
    path = _INSIDE / "twin" / "cuda" / "bindings" / "_numbers.py"
    spec = importlib.util.spec_from_file_location("numbers_of_the_twin", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def all_told() -> list[Any]:
    command = [sys.executable, "-c", _TOLD, str(_INSIDE), str(_INSIDE / "twin")]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert Path(told[3]).is_relative_to(_INSIDE)
    return told


@pytest.fixture(scope="module")
def told(all_told: list[Any]) -> tuple[dict[str, list[str]], dict[str, int], list[str]]:
    """Functions with their parameters, numbers, and classes of the twin's module, as a process on the twin sees it."""
    return tuple(all_told[:3])


def test_the_driver_api_has_the_real_names_and_numbers(all_told: list[Any]) -> None:
    functions, enums = all_told[4:]
    assert len(functions) >= 12
    for name, parameters in functions.items():
        text = getattr(real_driver, name).__doc__.splitlines()[0]
        inside = re.search(r"\((.*)\)", text)
        assert inside is not None
        stated = [part.split("=")[0].split(":")[0].split()[-1] for part in inside[1].split(",") if part.strip()]
        assert parameters == stated, name
    for name, members in enums.items():
        theirs = {m: int(v) for m, v in getattr(real_driver, name).__members__.items()}
        assert members.items() <= theirs.items(), name
    assert enums["CUresult"] == {m: int(v) for m, v in real_driver.CUresult.__members__.items()}


def test_every_enumeration_has_the_real_members(numbers: ModuleType) -> None:
    enums = [e for e in vars(numbers).values() if isinstance(e, type) and issubclass(e, IntEnum) and e is not IntEnum]
    assert len(enums) == 6
    for ours in enums:
        theirs = getattr(real, ours.__name__)
        assert {m.name: m.value for m in ours} == {m.name: m.value for m in theirs}


def test_every_text_is_the_real_one(numbers: ModuleType) -> None:
    for error, text in numbers.TEXTS.items():
        assert real.cudaGetErrorString(real.cudaError_t(error))[1].decode() == text
    ours = {text: int(error) for error, text in numbers.TEXTS.items()}
    assert {text: code for text, code in CODES.items() if ours.get(text) != code} == {}


def test_every_number_is_the_real_one(told: Any) -> None:
    assert {name: value for name, value in told[1].items() if getattr(real, name) != value} == {}


def test_every_function_takes_the_real_arguments(told: Any) -> None:
    functions, _, classes = told
    assert len(functions) > 45
    assert all(hasattr(real, name) for name in classes)
    for name, parameters in functions.items():
        if name == "__getattr__":
            continue
        text = getattr(real, name).__doc__.splitlines()[0]  # as "cudaMemset(devPtr, int value, size_t count)"
        inside = re.search(r"\((.*)\)", text)
        assert inside is not None
        stated = [part.split("=")[0].split(":")[0].split()[-1] for part in inside[1].split(",") if part.strip()]
        assert parameters == stated, name


@pytest.mark.parametrize(
    "call",
    [
        "cudaStreamSynchronize('x')",
        "cudaMalloc(-1)",
        "cudaMalloc('a')",
        "cudaMemcpyAsync(1, 2, 3, 1, 0)",
        "cudaMemcpyAsync('x', 2, 3, cudart.cudaMemcpyKind(1), 0)",
        "cudaStreamBeginCapture(0, 0)",
        "cudaGetErrorName(5)",
        "cudaGraphInstantiate(3)",
    ],
)
def test_a_wrong_argument_raises_what_the_real_package_raises(twin: Twin, call: str) -> None:
    with pytest.raises(Exception) as raised:
        eval(f"cudart.{call}", {"cudart": real})
    assert twin(f"cudart.{call}", prelude=PRELUDE).type == type(raised.value).__name__


def test_handles_and_errors_look_like_the_real_ones(twin: Twin) -> None:
    outcome = twin(
        """
        texts = []
        for kind in ("cudaStream_t", "cudaEvent_t", "cudaGraph_t", "cudaGraphExec_t", "cudaGraphNode_t"):
            made = getattr(cudart, kind)(26)
            assert int(made) == 26 and hex(made) == "0x1a" and made == getattr(cudart, kind)(26) and {made: 1}
            texts.append(repr(made))
        return texts + [repr(cudart.cudaError_t(2)), str(cudart.cudaError_t(2))]
        """,
        prelude=PRELUDE,
    ).clean()
    kinds = (real.cudaStream_t, real.cudaEvent_t, real.cudaGraph_t, real.cudaGraphExec_t, real.cudaGraphNode_t)
    assert outcome.value == [*(repr(kind(26)) for kind in kinds), repr(real.cudaError_t(2)), str(real.cudaError_t(2))]


def test_errors_and_their_words(twin: Twin) -> None:
    twin(
        """
        assert cudart.cudaGetErrorString(cudart.cudaError_t(2)) == (0, b"out of memory")
        assert cudart.cudaGetErrorName(cudart.cudaError_t(900)) == (0, b"cudaErrorStreamCaptureUnsupported")
        assert cudart.cudaSetDevice(1) == (101,)
        assert cudart.cudaGetDeviceProperties(1)[0] == 101
        assert cudart.cudaPeekAtLastError() == (101,) == cudart.cudaGetLastError()
        assert cudart.cudaGetLastError() == (0,)
        assert cudart.cudaGetDevice() == (0, 0) and cudart.cudaGetDeviceCount() == (0, 1)
        assert ok(cudart.cudaGetDeviceProperties(0)).name == cuda.Device(0).name().encode()
        assert ok(cudart.cudaMemGetInfo()) == cuda.mem_get_info()  # twin: others may be using a GPU
        """,
        prelude=PRELUDE,
    ).clean()


def test_running_out_of_memory_is_its_own_error(twin: Twin) -> None:
    outcome = twin("return cudart.cudaMalloc(1 << 50)[0].name  # <here>", prelude=PRELUDE)
    assert outcome.found("alloc").value == "cudaErrorMemoryAllocation"
    assert "cudaMalloc: " in outcome.printed  # the number alone would not say what was wrong


def test_copies_of_every_kind(twin: Twin) -> None:
    twin(
        """
        kinds = cudart.cudaMemcpyKind
        a, b = ok(cudart.cudaMalloc(24)), ok(cudart.cudaMalloc(24))
        y, z = np.empty_like(X), np.empty_like(X)
        ok(cudart.cudaMemcpy(a, X, 24, kinds.cudaMemcpyHostToDevice))           # an array, or its address
        ok(cudart.cudaMemcpy(b, a, 24, kinds.cudaMemcpyDeviceToDevice))
        ok(cudart.cudaMemcpy(y.ctypes.data, b, 24, kinds.cudaMemcpyDeviceToHost))
        ok(cudart.cudaMemcpy(z, y, 24, kinds.cudaMemcpyHostToHost))
        assert np.array_equal(y, X) and np.array_equal(z, X)
        ok(cudart.cudaMemset(a, 0, 24))
        ok(cudart.cudaMemcpy(y, a, 24, kinds.cudaMemcpyDefault))
        ok(cudart.cudaMemcpy(b, y, 24, kinds.cudaMemcpyDefault))
        ok(cudart.cudaMemcpy(z, b, 24, kinds.cudaMemcpyDefault))
        assert not y.any() and not z.any()
        ok(cudart.cudaFree(a)), ok(cudart.cudaFree(b)), ok(cudart.cudaFree(0))
        """,
        prelude=PRELUDE,
    ).clean()


def test_asynchronous_copies_of_memory_that_either_api_pinned(twin: Twin) -> None:
    twin(
        """
        import ctypes
        stream = ok(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
        ours, theirs, d = ok(cudart.cudaMallocHost(24)), pinned(X), cuda.mem_alloc(24)
        array = np.frombuffer((ctypes.c_ubyte * 24).from_address(ours), np.float32).reshape(2, 3)
        assert np.isnan(array).all()  # twin
        plain = X.copy()
        ok(cudart.cudaHostRegister(plain.ctypes.data, 24, 0))
        for source, target in ((theirs.ctypes.data, ours), (plain.ctypes.data, theirs.ctypes.data)):
            ok(cudart.cudaMemcpyAsync(int(d), source, 24, TO_DEVICE, stream))
            ok(cudart.cudaMemcpyAsync(target, int(d), 24, TO_HOST, stream))
            assert cudart.cudaStreamQuery(stream) == (cudart.cudaError_t.cudaErrorNotReady,)  # twin
            ok(cudart.cudaStreamSynchronize(stream))
        assert np.array_equal(array, X) and np.array_equal(theirs, X)
        ok(cudart.cudaHostUnregister(plain.ctypes.data))
        ok(cudart.cudaFreeHost(ours))
        ok(cudart.cudaStreamDestroy(stream))
        """,
        prelude=PRELUDE,
    ).clean()


def test_events_of_the_runtime(twin: Twin) -> None:
    twin(
        """
        one, two = ok(cudart.cudaStreamCreate()), cuda.Stream()
        start, end = ok(cudart.cudaEventCreate()), ok(cudart.cudaEventCreateWithFlags(cudart.cudaEventBlockingSync))
        d = cuda.mem_alloc(24)
        ok(cudart.cudaEventRecord(start, one))
        ok(cudart.cudaMemsetAsync(int(d), 1, 24, one))
        ok(cudart.cudaEventRecord(end, one))
        ok(cudart.cudaStreamWaitEvent(two.handle, end, 0))
        ok(cudart.cudaMemsetAsync(int(d), 2, 24, two.handle))
        assert cudart.cudaEventQuery(end)[0].name == "cudaErrorNotReady"  # twin
        ok(cudart.cudaEventSynchronize(end))
        ok(cudart.cudaDeviceSynchronize())
        assert ok(cudart.cudaEventElapsedTime(start, end)) >= 0
        assert cuda.from_device(d, 24, np.uint8).tolist() == [2] * 24
        ok(cudart.cudaEventDestroy(start)), ok(cudart.cudaEventDestroy(end)), ok(cudart.cudaStreamDestroy(one))
        """,
        prelude=PRELUDE,
    ).clean()


def test_the_device_that_is_set_is_the_primary_context(twin: Twin) -> None:
    """cudaSetDevice leaves PyCUDA's own context, which the engine was loaded in."""
    outcome = twin(
        """
        engine, context = load()
        d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
        ok(cudart.cudaSetDevice(0))
        context.execute_v2([d_x, d_y])  # <here>
        """,
        prelude=PRELUDE,
    )
    outcome.found("context", "another CUDA context")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "from cuda.bindings import driver; driver.cuMemAlloc(4)",
            "the twin's cuda.bindings.driver has no 'cuMemAlloc'",
        ),
        ("import cuda.bindings.nvrtc", "the twin has no cuda.bindings.nvrtc"),
        ("cudart.cudaLaunchHostFunc(0, 0, 0)", "the twin's cuda.bindings.runtime has no 'cudaLaunchHostFunc'"),
        ("cudart.cudaStreamSynchronize(cudart.cudaStreamPerThread)", "no per-thread default stream"),
    ],
)
def test_what_is_missing_says_so(twin: Twin, statement: str, says: str) -> None:
    assert says in twin(statement, prelude=PRELUDE).message
