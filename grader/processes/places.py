"""Where the programs of the other processes lie, and what each kind of process may read."""

from __future__ import annotations

import functools
import importlib.util
import os
import sysconfig
from pathlib import Path

from grader.tiers import Tier

from .sandbox import MIB, Policy

GRADER = Path(__file__).resolve().parents[1]
INSIDE = GRADER / "inside"
START_WORKER = INSIDE / "start_worker.py"
START_DEVICE = GRADER / "twin" / "start_device.py"
START_RUNNER = GRADER / "engines" / "start_runner.py"

_TRUSTED = (GRADER / "__init__.py", INSIDE, GRADER / "twin")
_PACKAGE = (GRADER.parent, GRADER)  # listed, so that `import grader.twin` finds its way

#: Whoever keeps an answer beside these (in the repository's own folder, say) does not get to read them.
_SECRET = tuple(GRADER.parent / name for name in ("solutions", "tests", "notebooks", ".git"))

#: Packages that would answer a task without TensorRT, and that no answer needs.
HIDDEN_PACKAGES = ("onnxruntime", "polygraphy", "openvino", "tvm")
#: Frameworks start a thread or several for every core. A worker's threads are counted, and a server has many cores.
_FEW_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), 8)

#: What the other processes import; packages may lie outside the interpreter's own folders (PYTHONPATH, --user).
_IMPORTED = (
    "numpy", "onnx", "onnxruntime", "cv2", "landlock", "tensorrt", "tensorrt_rtx", "pycuda", "cuda",
    "torch", "onnxscript", "tensorflow", "tf2onnx", "keras", "torchaudio", "_soundfile_data", "cffi",
)  # fmt: skip
PACKAGES_VARIABLE = "TRTPREP_PACKAGES"
#: Large blocks are kept for the next use instead of being given back to the kernel each time, whose zeroing of their
#: pages was a third of the twin's CPU time. Other C libraries do not know the variable.
KEEP_MEMORY = {"GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={128 * MIB}:glibc.malloc.trim_threshold={512 * MIB}"}
#: Where a GPU's libraries are found and which GPU is meant: kept from the caller's environment on such tiers.
_GPU_VARIABLES = ("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


@functools.cache
def package_folders() -> tuple[Path, ...]:
    """Folders of packages that an isolated interpreter would not look into by itself."""
    own = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    found = set()
    for name in _IMPORTED:
        spec = importlib.util.find_spec(name)
        for location in spec.submodule_search_locations or () if spec else ():
            found.add(Path(location).resolve().parent)
    return tuple(sorted(found - own))


def environment(tier: Tier) -> dict[str, str]:
    """Variables that every process of a tier needs."""
    env = {"PYTHONDONTWRITEBYTECODE": "1", PACKAGES_VARIABLE: os.pathsep.join(map(str, package_folders()))}
    env |= KEEP_MEMORY
    return env | {name: os.environ[name] for name in _GPU_VARIABLES if tier.devices and name in os.environ}


def worker_environment(tier: Tier) -> dict[str, str]:
    """Variables that a candidate's process needs as well."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return environment(tier) | {name: str(min(most, cores)) for name, most in _FEW_THREADS.items()}


def _libraries(tier: Tier) -> tuple[Path, ...]:
    paths = environment(tier).get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return tuple(Path(path) for path in paths if path and Path(path).is_dir())


def device_policy(tier: Tier) -> Policy:
    return Policy(readable=(*_TRUSTED, *package_folders()), listed=_PACKAGE)


def runner_policy(tier: Tier) -> Policy:
    readable = (*_TRUSTED, GRADER / "engines", *package_folders(), *_libraries(tier))
    return Policy(readable=readable, listed=_PACKAGE, devices=tier.devices)


def worker_policy(answer: Path, tier: Tier) -> Policy:
    """The candidate's own folder and what their imports need: nothing of the grader but `inside`."""
    site = {*(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")), *package_folders()}
    hidden = (*(folder / package for folder in site for package in HIDDEN_PACKAGES), GRADER, *_SECRET)
    readable = (INSIDE, answer.resolve().parent, *package_folders(), *_libraries(tier))
    return Policy(readable=readable, hidden=hidden, devices=tier.devices)
