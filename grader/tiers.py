"""What can run engines on this machine: gpu, rtx or twin (see docs/tiers.md)."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
from dataclasses import dataclass, field

from grader.inside.trtprep_worker import bridge

NAMES = ("gpu", "rtx", "twin")
#: Compute capabilities that TensorRT-RTX runs on (its support matrix).
_RTX_CAPABLE = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


class NoTier(RuntimeError):  # noqa: N818 (it reads as what happened)
    """The tier that was asked for, or any, cannot run here; the text says what would mend it."""


@dataclass(frozen=True)
class Tier:
    """One way to run engines.

    ``timings``: whether its times and tactics mean anything.  ``devices``: whether its processes need the GPU.
    ``settings``: defaults for candidates' builder configs (see `bridge.install`).  ``patience``: how many times
    longer than on the twin a call may take.
    """

    name: str
    tensorrt: str
    missing: str = ""  #: why it cannot run here, with what mends it; empty when it can
    gpu: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    slack: float = 1.0  #: how many times longer still, where a machine has other work too

    @property
    def devices(self) -> bool:
        return self.name != "twin"

    @property
    def timings(self) -> bool:
        return self.name == "gpu"

    @property
    def patience(self) -> float:
        return (1.0 if self.name == "twin" else 12.0) * self.slack


def all_tiers() -> list[Tier]:
    """Every tier in the order that ``auto`` tries them, each with what it lacks here."""
    gpu = _gpu()
    return [_gpu_tier(gpu), _rtx_tier(gpu), _twin_tier()]


def choose(name: str = "auto") -> Tier:
    """The tier of that name, or for "auto" the first that works. Raises NoTier."""
    if name not in (*NAMES, "auto"):
        raise NoTier(f"there is no tier {name!r}: choose auto, {', '.join(NAMES)}")
    found = all_tiers()
    for tier in found:
        if name in (tier.name, "auto") and not tier.missing:
            return tier
    wanted = [tier for tier in found if name in (tier.name, "auto")]
    raise NoTier("; ".join(f"tier {tier.name}: {tier.missing}" for tier in wanted))


def _gpu_tier(gpu: tuple[str, tuple[int, int]] | str) -> Tier:
    version = _version("tensorrt")
    if not version:
        return Tier("gpu", "", "TensorRT is not installed (pip install 'trtprep[gpu]' on a machine with a GPU)")
    if unsupported := _unsupported("gpu", version):
        return Tier("gpu", version, unsupported)
    if isinstance(gpu, str):
        return Tier("gpu", version, gpu)
    if not _has("pycuda"):
        return Tier("gpu", version, "PyCUDA is not installed (pip install 'trtprep[gpu]')", gpu[0])
    return Tier("gpu", version, gpu=gpu[0], settings={"optimization_level": 1})


def _rtx_tier(gpu: tuple[str, tuple[int, int]] | str) -> Tier:
    version = _version("tensorrt_rtx")
    if not version:
        return Tier("rtx", "", "TensorRT-RTX is not installed (pip install tensorrt-rtx)")
    if unsupported := _unsupported("rtx", version):
        return Tier("rtx", version, unsupported)
    if isinstance(gpu, str):
        return Tier("rtx", version, gpu)
    if gpu[1] not in _RTX_CAPABLE:
        return Tier("rtx", version, f"TensorRT-RTX does not run on compute capability {gpu[1][0]}.{gpu[1][1]}", gpu[0])
    if not _has("pycuda"):
        return Tier("rtx", version, "PyCUDA is not installed (pip install 'trtprep[gpu]')", gpu[0])
    return Tier("rtx", version, gpu=gpu[0])


def _unsupported(tier: str, version: str) -> str:
    """Why candidates' code could not be bridged to this version; "" when it can."""
    try:
        bridge.entries(tier, version)
    except ImportError as error:
        return str(error)
    return ""


def _twin_tier() -> Tier:
    version = _version("tensorrt_rtx")
    if not version:
        return Tier("twin", "", "TensorRT-RTX is not installed (pip install tensorrt-rtx)")
    if not _has("onnxruntime"):
        return Tier("twin", version, "ONNX Runtime is not installed (pip install onnxruntime)")
    return Tier("twin", version)


def _gpu() -> tuple[str, tuple[int, int]] | str:
    """(name, compute capability) of device 0, or why there is none. Asks the driver; makes no context."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver was found on this machine"
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return "the NVIDIA driver finds no GPU"
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    return name.value.decode(errors="replace"), (major.value, minor.value)


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _version(package: str) -> str:
    """Version of an installed package that can really be imported; "" otherwise."""
    if not _has(package):
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
