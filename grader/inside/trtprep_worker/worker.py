"""The candidate worker: imports a candidate's module and calls its functions, one at a time.

It knows no answers.  All that it says is taken as a claim by the grader, since the candidate's
code runs in this very process and may have changed any of it.
"""

from __future__ import annotations

import gc
import importlib
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
                install(request["tier"], request["settings"])
                self._module = importlib.import_module(request["module"])
                return {"value": None}
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
        """Arguments that stand for files become paths in the scratch folder."""
        if isinstance(value, list):
            return [self._given(item) for item in value]
        if not isinstance(value, dict) or "@" not in value:
            return value
        path = self._scratch / value["name"]
        if value["@"] == "file":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value["data"])
        return str(path)

    def _describe(self, error: BaseException) -> dict[str, Any]:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(self._folder)]
        last = frames[-1] if frames else None
        if isinstance(error, SyntaxError) and error.filename:
            where = f"{os.path.basename(error.filename)}:{error.lineno}"
        else:
            where = f"{os.path.basename(last.filename)}:{last.lineno}" if last else ""
        return {
            "type": type(error).__name__,
            "bases": [c.__name__ for c in type(error).__mro__],
            "message": str(error)[:4000],
            "line": where,
            "traceback": "".join(traceback.format_list(frames))[-8000:],
        }


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
            wire.pack(reply)
        except wire.WireError as error:
            reply = {"error": {"type": "TypeError", "bases": [], "message": f"returned {error}", "line": "", "traceback": ""}}
        # What the call left in reference cycles goes before the grader looks at the device's books.
        gc.collect()
        wire.send(channel, reply)


def _plain(value: Any) -> Any:
    """What may be returned besides the wire's own types: buffers (a TensorRT plan) and paths."""
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__name__ == "IHostMemory":
        return bytes(memoryview(value))
    return value
