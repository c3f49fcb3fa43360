"""The candidate worker: imports a candidate's module and calls its functions, one at a time.

It knows no answers.  All that it says is taken as a claim by the grader, since the candidate's
code runs in this very process and may have changed any of it.
"""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import os
import socket
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from . import wire
from .bridge import install
from .lockdown import SCRATCH_VARIABLE

#: Bounds on what a call may return; the grader holds to them whatever this process says.
REPLY = wire.Bounds(json_bytes=4 << 20, blob_bytes=512 << 20, blobs=1024)


class Worker:
    def __init__(self) -> None:
        self._scratch = Path(os.environ[SCRATCH_VARIABLE])
        self._module: ModuleType | None = None
        self._folder = ""

    def do(self, request: dict[str, Any]) -> dict[str, Any]:
        """Serve one request; what a candidate's code raises comes back as data."""
        try:
            if request["do"] == "import":
                self._folder = request["folder"]
                sys.path.insert(0, self._folder)
                sys.modules.update(dict.fromkeys(request["absent"]))  # frameworks look for them: not there is not there
                install(request["tier"], request["settings"])
                self._module = importlib.import_module(request["module"])
                return {"value": {"unwritten": unwritten(self._module)}}
            return {"value": self._call(request)}
        except BaseException as error:  # noqa: BLE001 (SystemExit, KeyboardInterrupt: all are the candidate's to answer for)
            return {"error": self._describe(error)}

    def _call(self, request: dict[str, Any]) -> Any:
        function = getattr(self._module, request["function"], None)
        if not callable(function):
            raise AttributeError(f"your file has no function {request['function']!r}: was it renamed or removed?")
        args = [self._given(value) for value in request["args"]]
        kwargs = {key: self._given(value) for key, value in request["kwargs"].items()}
        return _plain(function(*args, **kwargs))

    def _given(self, value: Any) -> Any:
        """Arguments that stand for files become paths in the scratch folder; others, what PyTorch makes of them."""
        if isinstance(value, (list, tuple)):
            return type(value)(self._given(item) for item in value)
        if not isinstance(value, dict):
            return value
        if "@" not in value:
            return {key: self._given(item) for key, item in value.items()}
        if value["@"].startswith("torch."):
            from . import torch_arguments  # PyTorch takes seconds, and not everybody has it

            return torch_arguments.given(value, self._scratch)
        path = self._scratch / value["name"]
        if value["@"] == "file":
            for name, data in {**value["beside"], value["name"]: value["data"]}.items():
                written = self._scratch / name
                written.parent.mkdir(parents=True, exist_ok=True)
                written.write_bytes(data)
        if value["@"] == "folder":
            path.mkdir(parents=True)
            for name, data in value["files"].items():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_bytes(data)
        return str(path)

    def _describe(self, error: BaseException) -> dict[str, Any]:
        folder = self._folder.rstrip(os.sep) + os.sep
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(folder)]
        last = frames[-1] if frames else None
        if isinstance(error, SyntaxError) and error.filename:
            where = f"{os.path.basename(error.filename)}:{error.lineno}"
        else:
            where = f"{os.path.basename(last.filename)}:{last.lineno}" if last else ""
        return {
            "type": type(error).__name__,
            "bases": [c.__name__ for c in type(error).__mro__],
            "message": _message(error)[:4000],
            "line": where,
            "traceback": "".join(traceback.format_list(frames))[-8000:],
        }


def unwritten(module: ModuleType) -> list[str]:
    """Names of functions that are still as in the stub: nothing but a docstring and ``raise NotImplementedError``."""
    found = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if len(body) == 1 and ast.unparse(body[0]).startswith("raise NotImplementedError"):
                found.append(node.name)
    return found


def serve(channel: socket.socket) -> None:
    """Until the grader closes the channel."""
    worker = Worker()
    while True:
        try:
            request = wire.receive(channel)
        except wire.Closed:
            return
        reply = worker.do(request)
        try:
            packed = wire.pack(reply)
            refusal = _refusal(*packed)
        except wire.WireError as error:
            refusal = str(error)
        except Exception as error:  # noqa: BLE001 (a candidate's own subclass of a plain type can raise anything)
            refusal = f"a value that cannot be looked into ({type(error).__name__}: {_message(error)[:1000]})"
        if refusal:
            message = f"{request.get('function', 'the import')}() returned {refusal}"
            told = {"type": "TypeError", "bases": [], "message": message, "line": "", "traceback": ""}
            packed = wire.pack({"error": told})
        # What the call left in reference cycles goes before the grader looks at the device's books.
        gc.collect()
        if request["do"] == "import":  # modules stay: looking through them would cost every call some milliseconds
            gc.freeze()
        wire.send_packed(channel, *packed)


def _refusal(text: bytes, blobs: list[memoryview]) -> str:
    """Why the grader would not take this packed reply; "" when it would."""
    size = sum(blob.nbytes for blob in blobs)
    if size > REPLY.blob_bytes:
        return f"{size} bytes of data, at most {REPLY.blob_bytes} are taken"
    if len(text) > REPLY.json_bytes or len(blobs) > REPLY.blobs:
        return f"too many values ({len(blobs)} arrays, {len(text)} bytes of the rest): return them as few arrays"
    return ""


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 (it is the candidate's __str__)
        return f"(its text raises {type(failure).__name__})"


def _plain(value: Any) -> Any:
    """What may be returned besides the wire's own types: buffers (a TensorRT plan) and paths."""
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__name__ == "IHostMemory":
        return bytes(memoryview(value))
    return value
