"""The stand-in for torchaudio's library, with small packages of the same build, and with the real one where it is."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from grader.inside.trtprep_worker import torchaudio_stand_in

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(torchaudio_stand_in.__file__).parents[1]
PACKAGE = """\
from . import _extension
from ._extension import _IS_TORCHAUDIO_EXT_AVAILABLE, fail_if_no_align


@fail_if_no_align
def aligned(x):
    return x
"""
EXTENSION = """\
from .utils import load

_IS_TORCHAUDIO_EXT_AVAILABLE = load()
_IS_ALIGN_AVAILABLE = True
fail_if_no_align = lambda function: function
"""
Import = Callable[[str], ModuleType]


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Imports a torchaudio whose library is loaded by this line, with the stand-in installed."""

    def do(load: str) -> ModuleType:
        folder = tmp_path / "torchaudio" / "_extension"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text(PACKAGE)
        (folder / "__init__.py").write_text(EXTENSION)
        (folder / "utils.py").write_text(f"def load():\n    {load}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            monkeypatch.delitem(sys.modules, name)
        torchaudio_stand_in.install()
        try:
            return importlib.import_module("torchaudio")
        finally:
            for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
                monkeypatch.setitem(sys.modules, name, sys.modules[name])  # so that they go when the test is over

    return do


def test_a_package_whose_library_cannot_be_loaded_is_imported_without_it(imported: Import) -> None:
    module = imported("raise OSError('libc10_cuda.so: cannot open shared object file')")

    assert module._IS_TORCHAUDIO_EXT_AVAILABLE is False
    assert sys.modules["torchaudio._extension"].utils is not None  # the real module's, as far as it got
    with pytest.raises(RuntimeError, match=r"aligned needs torchaudio's own library: libc10_cuda"):
        module.aligned(1)


def test_a_library_that_loads_is_used(imported: Import) -> None:
    module = imported("return True")

    assert module._IS_TORCHAUDIO_EXT_AVAILABLE is True
    assert module.aligned(1) == 1


def test_other_errors_stay_errors(imported: Import) -> None:
    with pytest.raises(RuntimeError, match="different CUDA versions"):
        imported("raise RuntimeError('different CUDA versions')")


def test_it_is_installed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    torchaudio_stand_in.install()
    first = list(sys.meta_path)
    torchaudio_stand_in.install()
    assert sys.meta_path == first


def test_nothing_is_imported_before_torchaudio_is() -> None:
    """In a process of its own, as a worker would; where there is no torchaudio, none is made up."""
    program = (
        "import sys; from trtprep_worker import torchaudio_stand_in as it; it.install()\n"
        "assert not {'torch', 'torchaudio'} & set(sys.modules)\n"
        "sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "try: import torchaudio\n"
        "except ModuleNotFoundError as error: print(error.name)\n"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, env={"PYTHONPATH": str(INSIDE)}, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "torchaudio"


@pytest.mark.frameworks
def test_the_real_package_resamples_beside_a_pytorch_without_cuda(tmp_path: Path) -> None:
    """By `trtprep python`, as a candidate would."""
    if importlib.util.find_spec("torchaudio") is None:
        pytest.skip("torchaudio is not installed here")
    program = tmp_path / "program.py"
    program.write_text(
        "import torch, torchaudio\n"
        "print(tuple(torchaudio.functional.resample(torch.zeros(1, 44100), 44100, 16000).shape))\n"
    )
    command = [sys.executable, "-m", "grader", "python", "--tier", "twin", str(program)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout.strip()) == (0, "(1, 16000)"), told.stderr
