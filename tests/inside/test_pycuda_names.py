"""No public name, method or argument name in the twin's PyCUDA that PyCUDA's own source lacks (`pycuda_names.py`)."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_INSIDE = Path(__file__).resolve().parents[2] / "grader/inside"
_PYCUDA = json.loads(Path(__file__).with_name("pycuda_names.json").read_text())
_OF_INT = set(dir(int)) | {"name", "names", "values"}


@pytest.fixture(scope="module")
def twin() -> Iterator[dict[str, Any]]:
    """The twin's modules, imported beside whatever `pycuda` this environment has."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "pycuda"}
    sys.path[:0] = [str(_INSIDE), str(_INSIDE / "twin")]
    try:
        yield {name: importlib.import_module(f"pycuda.{name}") for name in ("driver", "gpuarray")}
    finally:
        del sys.path[:2]
        for name in [name for name in sys.modules if name.partition(".")[0] == "pycuda"]:
            del sys.modules[name]
        sys.modules.update(before)


def _public(thing: Any) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def _classes(twin: dict[str, Any]) -> Iterator[tuple[str, type]]:
    for name in sorted(_public(twin["driver"])):
        made = getattr(twin["driver"], name)
        if isinstance(made, type) and not issubclass(made, Exception):
            yield name, made
    yield "GPUArray", twin["gpuarray"].GPUArray


def test_the_list_is_of_this_version(twin: dict[str, Any]) -> None:
    package = sys.modules["pycuda"]
    assert ".".join(map(str, package.VERSION)) == _PYCUDA["version"]
    assert package.VERSION_TEXT.startswith(_PYCUDA["version"])
    assert {"VERSION", "VERSION_TEXT"} <= set(_PYCUDA["__init__"]["others"])


@pytest.mark.parametrize("module", ["driver", "gpuarray"])
def test_modules_have_no_name_that_pycuda_lacks(twin: dict[str, Any], module: str) -> None:
    known = set(_PYCUDA[module]["functions"]) | set(_PYCUDA[module]["others"])
    assert len(known) > 40
    assert _public(twin[module]) - known == set()
    assert set(twin[module].__all__) == _public(twin[module])


@pytest.mark.parametrize("module", ["autoinit", "autoprimaryctx"])
def test_modules_that_make_a_context_have_no_other_names(module: str) -> None:
    text = (_INSIDE / "twin/pycuda" / f"{module}.py").read_text()
    imported = {n for n in re.findall(r"^(?:from \S+ )?import (?:\S+ as )?(\w+)(?! as)", text, re.MULTILINE)}
    assigned = set(re.findall(r"^(\w+) =", text, re.MULTILINE))
    public = {name for name in imported | assigned if not name.startswith("_")} - {"pycuda", "suppress"}
    assert {"device", "context"} <= public <= set(_PYCUDA[module]["others"])


def test_classes_have_no_member_that_pycuda_lacks(twin: dict[str, Any]) -> None:
    seen = 0
    for name, made in _classes(twin):
        known = set(_PYCUDA["classes"][name]) | (_OF_INT if issubclass(made, int) else set())
        for base in made.__mro__:
            if base not in (int, object):
                assert _public(base) - known == set(), name
        seen += 1
    assert seen >= 13


def _arguments(function: Any) -> list[str]:
    """The names that callers can use."""
    if hasattr(function, "signatures"):
        shown = re.findall(r"[ (][\w:]+(?: \{lvalue\})? (\w+)(?==|,|\))", function.signatures[-1])
        types = {"char", "short", "int", "long"}
        return [name for name in shown if name != "self" and name not in types]
    kinds = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    return [kinds.get(p.kind, "") + p.name for p in parameters]


#: PyCUDA's have keywords of old versions, or take their order by keyword.
_OTHERWISE = {
    "set": ["ary", "async_", "stream", "**kwargs"],
    "get": ["ary", "pagelocked", "async_", "stream", "**kwargs"],
    "reshape": ["*shape", "**kwargs"],
    "arange": ["*args", "**kwargs"],
}


def test_arguments_have_pycudas_names(twin: dict[str, Any]) -> None:
    checked = []
    pairs: list[tuple[str, Any, Any]] = []
    for module in ("driver", "gpuarray"):
        known = _PYCUDA[module]["functions"]
        pairs += [(n, getattr(twin[module], n), known[n]) for n in _public(twin[module]) if n in known]
    for name, made in _classes(twin):
        known = _PYCUDA["classes"][name]
        members = {n: getattr(made, n) for n in vars(made) if known.get(n) is not None}
        pairs += [(n, member, known[n]) for n, member in members.items() if inspect.isfunction(member)]
    for name, function, wanted in pairs:
        if name in _OTHERWISE:
            assert wanted == _OTHERWISE[name]
        elif not name.startswith("__") or hasattr(function, "signatures"):
            assert _arguments(function) == wanted, name
            checked.append(name)
    assert {"memset_d8_async", "mem_alloc", "pagelocked_zeros", "time_since", "__init__", "mul_add", "copy"} <= set(
        checked
    )
    assert len(checked) > 60


def test_a_name_that_pycuda_lacks_would_be_found(twin: dict[str, Any]) -> None:
    assert "stream_flags" not in _PYCUDA["driver"]["others"] and "handle" not in _PYCUDA["classes"]["Event"]
    assert _PYCUDA["driver"]["functions"]["memset_d8"] == ["dest", "data", "size"]
    assert _PYCUDA["driver"]["functions"]["mem_alloc"] == []
    assert "stream" not in _PYCUDA["classes"]["GPUArray"]["copy"]
