"""Starts, by forking, the processes of the twin's tests: a device, or a program that uses it.

Run as `zygote.py device|program`, with its end of a socket pair as standard input.  Imports are made
once, before the first fork, so that a test needs milliseconds and still has two fresh processes.
Each request comes with two descriptors: for a device the candidate's channel and the control
channel; for a program the candidate's channel and the one on which the outcome goes back.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

GRADER = Path(__file__).resolve().parents[2] / "grader"


def main(role: str) -> None:
    if role == "device":
        sys.path.insert(0, str(GRADER.parent))
        import onnxruntime  # noqa: F401

        import grader.twin.device  # noqa: F401
    else:
        sys.path[:0] = [
            str(GRADER / "inside"),
            str(GRADER / "inside" / "twin"),
            str(Path(__file__).parent / "programs"),
        ]
        import helpers  # noqa: F401 (with it tensorrt and pycuda.driver, none of which connects to a device yet)
        import onnx  # noqa: F401
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    jobs = socket.socket(fileno=os.dup(0))
    while True:
        request, fds, _, _ = socket.recv_fds(jobs, 1 << 16, 2)
        if not request:
            return
        if os.fork() == 0:
            jobs.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            (_device if role == "device" else _program)(json.loads(request), *map(_socket, fds))
            os._exit(0)
        for fd in fds:
            os.close(fd)


def _socket(fd: int) -> socket.socket:
    return socket.socket(fileno=fd)


def _device(request: dict, client: socket.socket, control: socket.socket) -> None:
    from grader.twin.device import Device, serve

    serve(Device(bytes.fromhex(request["key"])), client, control)


def _program(request: dict, device: socket.socket, outcome: socket.socket) -> None:
    """Runs ``main()`` of a file, tells what came of it, and stays alive until it was heard."""
    os.environ["TRTPREP_DEVICE_FD"] = str(device.fileno())
    os.chdir(request["folder"])
    printed, names = io.StringIO(), {"__name__": "answer"}
    told: dict = {"type": "", "message": "", "line": "", "trace": "", "value": None}
    source = Path(request["file"])
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            exec(compile(source.read_text(), str(source), "exec"), names)
            told["value"] = names["main"](*request["arguments"])
        except BaseException as error:  # noqa: BLE001 (the outcome, whatever it is)
            frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(source)]
            told |= {"type": type(error).__name__, "message": str(error), "trace": traceback.format_exc()}
            told["line"] = f"{source.name}:{frames[-1].lineno}" if frames else ""
            del error, frames
        gc.collect()
    told["printed"] = printed.getvalue()
    outcome.sendall(json.dumps(told).encode())
    outcome.shutdown(socket.SHUT_WR)
    outcome.recv(1)
    device.detach()


if __name__ == "__main__":
    main(sys.argv[1])
