"""Which tier runs here: the first that works, and for the others what they lack."""

from __future__ import annotations

import pytest

from grader import tiers
from grader.tiers import NAMES, NoTier

H100 = ("NVIDIA H100", (9, 0))
L4 = ("NVIDIA L4", (8, 9))
EVERYTHING = {"tensorrt": "10.13.0", "tensorrt_rtx": "1.7.1.116", "pycuda": "2025.1", "onnxruntime": "1.23.2"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Makes this machine one with these packages and this GPU, or without one for the given reason."""

    def make(packages: dict[str, str], gpu: object = "no NVIDIA driver was found on this machine") -> None:
        monkeypatch.setattr(tiers, "_has", lambda name: name in packages)
        monkeypatch.setattr(tiers, "_version", lambda name: packages.get(name, ""))
        monkeypatch.setattr(tiers, "_gpu", lambda: gpu)

    return make


def _missing() -> dict[str, str]:
    return {tier.name: tier.missing for tier in tiers.all_tiers()}


def test_the_names_are_those_of_the_tiers_in_the_order_that_auto_tries_them() -> None:
    assert tuple(tier.name for tier in tiers.all_tiers()) == NAMES


@pytest.mark.parametrize(
    ("gpu", "without", "chosen"),
    [
        (L4, (), "gpu"),
        (H100, (), "gpu"),
        (L4, ("tensorrt",), "rtx"),
        (H100, ("tensorrt",), "twin"),
        ("none", (), "twin"),
    ],
)
def test_auto_takes_the_first_that_works(machine, gpu: object, without: tuple[str, ...], chosen: str) -> None:
    machine({name: version for name, version in EVERYTHING.items() if name not in without}, gpu)

    assert tiers.choose().name == tiers.choose("auto").name == chosen


@pytest.mark.parametrize("name", NAMES)
def test_a_tier_that_is_named_is_taken_where_it_works(machine, name: str) -> None:
    machine(EVERYTHING, L4)

    tier = tiers.choose(name)

    assert (tier.name, tier.missing) == (name, "")
    assert tier.tensorrt == EVERYTHING["tensorrt" if name == "gpu" else "tensorrt_rtx"]
    assert tier.gpu == ("" if name == "twin" else "NVIDIA L4")


@pytest.mark.parametrize(
    ("tier", "packages", "gpu", "says"),
    [
        ("gpu", {}, L4, "TensorRT is not installed (pip install 'trtprep[gpu]'"),
        ("gpu", EVERYTHING, "the NVIDIA driver finds no GPU", "the NVIDIA driver finds no GPU"),
        ("gpu", {"tensorrt": "10.13.0"}, L4, "PyCUDA is not installed (pip install 'trtprep[gpu]')"),
        ("gpu", EVERYTHING | {"tensorrt": "9.3.0"}, L4, "TensorRT 9.3.0 is not supported: use TensorRT 8.6"),
        ("gpu", EVERYTHING | {"tensorrt": "8.5.3.1"}, L4, "TensorRT 8.5.3.1 is not supported"),
        ("rtx", {}, L4, "TensorRT-RTX is not installed (pip install tensorrt-rtx)"),
        ("rtx", EVERYTHING, H100, "does not run on compute capability 9.0"),
        ("rtx", {"tensorrt_rtx": "1.7.1"}, L4, "PyCUDA is not installed"),
        ("rtx", EVERYTHING | {"tensorrt_rtx": "2.0"}, L4, "TensorRT-RTX 2.0 is not supported"),
        ("twin", {"onnxruntime": "1.23.2"}, "", "TensorRT-RTX is not installed"),
        ("twin", {"tensorrt_rtx": "1.7.1"}, "", "ONNX Runtime is not installed (pip install onnxruntime)"),
    ],
)
def test_what_a_tier_lacks_is_said_with_what_mends_it(
    machine, tier: str, packages: dict, gpu: object, says: str
) -> None:
    machine(packages, gpu)

    assert says in _missing()[tier]
    with pytest.raises(NoTier) as caught:
        tiers.choose(tier)
    assert str(caught.value).startswith(f"tier {tier}: ")
    assert says in str(caught.value)


def test_a_machine_with_nothing_says_what_each_tier_lacks(machine) -> None:
    machine({})
    with pytest.raises(NoTier) as caught:
        tiers.choose()
    assert [f"tier {name}: " in str(caught.value) for name in NAMES] == [True] * 3


def test_a_tier_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(NoTier, match="there is no tier 'cpu': choose auto, gpu, rtx, twin"):
        tiers.choose("cpu")


def test_only_hardware_has_devices_and_patience_and_only_tensorrt_itself_timings(machine) -> None:
    machine(EVERYTHING, L4)
    gpu, rtx, twin = (tiers.choose(name) for name in NAMES)

    assert (gpu.devices, rtx.devices, twin.devices) == (True, True, False)
    assert (gpu.timings, rtx.timings, twin.timings) == (True, False, False)
    assert twin.patience == 1.0 < min(gpu.patience, rtx.patience)
    assert (gpu.settings, rtx.settings, twin.settings) == ({"optimization_level": 1}, {}, {})


def test_a_driver_that_is_not_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(tiers.ctypes, "CDLL", none)
    assert tiers._gpu() == "no NVIDIA driver was found on this machine"


def test_the_version_of_what_is_not_installed_is_empty() -> None:
    assert tiers._version("no_such_package_anywhere") == ""
    assert tiers._version("json") == "", "a module without a package has no version to tell"
    assert tiers._version("numpy")
