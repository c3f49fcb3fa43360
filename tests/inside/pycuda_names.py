"""PyCUDA's public names, read from its source: `python -m tests.inside.pycuda_names FOLDER > pycuda_names.json`.

FOLDER is PyCUDA's source distribution, unpacked.  Nothing of it is imported or compiled, so no GPU is needed.
For each function and method there are its arguments' names as callers can write them (none: by position only).
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

_DEF = re.compile(
    r'(?:\.|py::|boost::python::)def\s*\(\s*"(\w+)"|DEF_SIMPLE_(?:METHOD|FUNCTION)(?:_WITH_ARGS)?\s*\(\s*(\w+)'
    r'|(?:\.def_readwrite|\.add_property)\s*\(\s*"(\w+)"'
)
_CLASS = re.compile(r'py::(class_|enum_)\s*<[^;"]*?\(\s*"(\w+)"')
_DEFINE = re.compile(r"#define (WRAP_\w+)[^\\\n]*((?:\\\n[^\\\n]*)+)")


def names_of(folder: Path) -> dict[str, Any]:
    """``version``; for each module ``functions`` and ``others``; for each class or enumeration its members."""
    driver, array = (ast.parse((folder / "pycuda" / name).read_text()) for name in ("driver.py", "gpuarray.py"))
    found: dict[str, Any] = {"version": _version(folder), "classes": {}}
    functions: dict[str, list[str]] = {}
    others: set[str] = set()
    for name in ("wrap_cudadrv.cpp", "mempool.cpp"):
        text = (folder / "src" / "wrapper" / name).read_text()
        text = re.sub(r"//[^\n]*", "", text[re.search(r"BOOST_PYTHON_MODULE|void pycuda_expose_tools", text).start() :])  # type: ignore[union-attr]
        if name == "wrap_cudadrv.cpp":
            text = text[: text.rindex("pycuda_expose_tools();")]
        _read_cpp(text, found["classes"], functions, others)
    host = found["classes"]["HostPointer"]
    for name in ("PagelockedHostAllocation", "RegisteredHostMemory", "AlignedHostAllocation"):
        found["classes"][name].update(host)
    python = _python(driver)
    functions.update(python["functions"])
    found["driver"] = {"functions": functions, "others": sorted(others | set(python["others"]))}
    found["classes"]["Device"].update({"get_attributes": []})
    found["gpuarray"] = _python(array)
    found["classes"]["GPUArray"] = _members(array, "GPUArray")
    for name in ("autoinit", "autoprimaryctx", "__init__"):
        found[name] = _python(ast.parse((folder / "pycuda" / f"{name}.py").read_text()))
    return found


def _version(folder: Path) -> str:
    return re.search(r"^Version: (\S+)", (folder / "PKG-INFO").read_text(), re.MULTILINE)[1]  # type: ignore[index]


def _read_cpp(text: str, classes: dict[str, Any], functions: dict[str, list[str]], others: set[str]) -> None:
    macros = {match[1]: match[2].replace("\\", "") for match in _DEFINE.finditer(text)}
    text = re.sub(r"#define WRAP_[^\n]*", "", _DEFINE.sub("", text))
    for _ in range(3):  # they are nested
        for name, body in macros.items():
            text = re.sub(rf"\b{name}\b", lambda _, body=body: body, text)
    others.update(set(re.findall(r"DECLARE_EXC\((\w+),", text)) - {"NAME"})
    others.update(re.findall(r'py::scope\(\)\.attr\("(\w+)"\)', text))
    starts = [(m.start(), m) for m in _CLASS.finditer(text)]
    rest = text
    for number, (start, match) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else len(text)
        part = text[start:end]
        others.add(match[2])
        if match[1] == "enum_":
            classes[match[2]] = dict.fromkeys(re.findall(r'\.value\("(\w+)"', part), None)
        else:
            own = part[: part.index("\n  }")] if "\n  }" in part else part
            members = _defined(own)
            members.update(dict.fromkeys(re.findall(r'cls\.attr\("(\w+)"\)', own)))
            constructor = re.search(r"py::init<[^>]*>\s*\(?", own)
            if constructor:
                members.setdefault("__init__", _names(own[constructor.start() : own.find("\n", constructor.end())]))
            classes[match[2]] = members
            rest = rest.replace(own, "")
    functions.update(_defined(rest))


def _defined(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for match in _DEF.finditer(text):
        if match[3]:
            found[match[3]] = None
            continue
        depth, end = 0, text.index("(", match.start())
        while True:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
            if not depth:
                break
        found[match[1] or match[2]] = _names(text[match.end() : end]) or found.get(match[1] or match[2], [])
    return found


def _names(text: str) -> list[str]:
    told = re.findall(r'(?:py::|boost::python::)?args?\s*\(((?:\s*"\w+"\s*,?)+)\)|\(\s*((?:"\w+"\s*,?\s*)+)\)', text)
    return [n for pair in told for part in pair for n in re.findall(r'"(\w+)"', part) if n != "self"]


def _python(tree: ast.Module) -> dict[str, Any]:
    functions: dict[str, list[str]] = {}
    others: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = _arguments(node)
        elif isinstance(node, ast.ClassDef):
            others.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            others.update(t.id for t in targets if isinstance(t, ast.Name))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            others.update((a.asname or a.name).partition(".")[0] for a in node.names if a.name != "*")
    public = {name: names for name, names in functions.items() if not name.startswith("_")}
    return {"functions": public, "others": sorted(n for n in others if not n.startswith("_"))}


def _members(tree: ast.Module, name: str) -> dict[str, Any]:
    (made,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    found: dict[str, Any] = {}
    for node in made.body:
        if isinstance(node, ast.FunctionDef):
            is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
            found[node.name] = None if is_property else _arguments(node)
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    found.setdefault(inner.attr, None)
        elif isinstance(node, ast.Assign):
            found.update({t.id: None for t in node.targets if isinstance(t, ast.Name)})
    return found


def _arguments(node: ast.FunctionDef) -> list[str]:
    names = [a.arg for a in node.args.args if a.arg != "self"]
    return names + [f"*{a.arg}" for a in (node.args.vararg,) if a] + [f"**{a.arg}" for a in (node.args.kwarg,) if a]


if __name__ == "__main__":
    json.dump(names_of(Path(sys.argv[1])), sys.stdout, indent=0, sort_keys=True)
    print()
