"""A process with the libraries of workers, or of devices and runners, loaded: each of those is forked from it.

Run by `grader.processes.templates` with the kind and the number of the socket for requests. It knows no key, no answer
and no submission, and runs nothing of one. A fork first joins the namespaces that bubblewrap has made for it, and forks
once more, to be in the PID namespace; then it locks itself down like a process that was started in the plain way.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

INSIDE = Path(__file__).resolve().parent
sys.path.insert(0, str(INSIDE))
sys.path += filter(None, os.environ["TRTPREP_PACKAGES"].split(os.pathsep))

#: What is imported once, by kind. A worker may not have what is hidden from it, so it and the others have no template
#: in common, and do not share the layout of their memory either.
LIBRARIES = {
    "worker": ("numpy", "numpy.random", "onnx", "cv2", "tensorrt_rtx", "trtprep_worker.worker"),
    "trusted": ("numpy", "onnx.reference", "onnxruntime", "grader.twin.device", "grader.engines.twin"),
}
ALSO = ("landlock",)  # what a lockdown imports
#: In the order in which they come with a request, before the status pipe, the output and the process's own.
NAMESPACES = ("user", "net", "ipc", "uts", "pid", "mnt")
MOST_FDS = 32
MOST_BYTES = 1 << 16
NS_GET_PARENT = 0xB702
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4

_libc = ctypes.CDLL(None, use_errno=True)


def main(kind: str, jobs: socket.socket) -> None:
    """Serve requests until nobody can make one any more."""
    if kind != "worker":
        sys.path.insert(0, str(INSIDE.parents[1]))
    for name in (*LIBRARIES[kind], *ALSO):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    jobs.send(b"ready")
    poller = select.poll()
    poller.register(jobs, select.POLLIN)
    forks: dict[int, tuple[socket.socket, int]] = {}
    while True:
        for handle, _ in poller.poll():
            if handle == jobs.fileno():
                request, fds, _, _ = socket.recv_fds(jobs, MOST_BYTES, MOST_FDS)
                if not request:
                    os._exit(0)
                told = socket.socket(fileno=fds[0])
                pid = os.fork()
                if pid == 0:
                    _be_forked(json.loads(request), fds[1:], [jobs, told, *(t for t, _ in forks.values())])
                for fd in fds[1:]:
                    os.close(fd)
                told.send(str(pid).encode())
                poller.register(told, select.POLLIN)
                forks[told.fileno()] = told, pid
            else:  # whoever asked has gone, or has seen the end
                told, pid = forks.pop(handle)
                poller.unregister(told)
                told.close()
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)  # not before: its number must stay its own while it is watched


def _be_forked(request: dict, fds: list[int], theirs: list[socket.socket]) -> None:
    """Join the namespaces, fork the process, wait for it and tell how it ended."""
    status = 1
    try:
        for one in theirs:
            one.close()
        user, *others = fds[: len(NAMESPACES)]
        tell, output, *own = fds[len(NAMESPACES) :]
        _join(user, others)
        pid = os.fork()
        if pid == 0:
            _be_the_process(request, output, own)
        for fd in (user, *others, output, *own):
            os.close(fd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(tell, b"%d\n" % (code if code >= 0 else 128 - code))
        status = 0
    except BaseException:  # noqa: BLE001 (what goes beyond this would run the template's loop)
        os.write(output, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _join(user: int, others: list[int]) -> None:
    """Enter namespaces; those of the user last, since what they own can only be entered with their owner's rights.

    Where bubblewrap gives the process another uid than the one it set up with, it makes a second user namespace in the
    one that owns the others.
    """
    mine = os.stat("/proc/self/ns/user").st_ino
    between = user
    if os.fstat(user).st_ino != mine:
        parent = fcntl.ioctl(user, NS_GET_PARENT)
        if os.fstat(parent).st_ino != mine:
            between = parent
        _setns(between)
    for name, fd in zip(NAMESPACES[1:], others, strict=True):
        if os.fstat(fd).st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
            _setns(fd)
    if between != user:
        _setns(user)
        os.close(between)


def _setns(fd: int) -> None:
    if _libc.setns(fd, 0):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


def _be_the_process(request: dict, output: int, own: list[int]) -> None:
    status, says = 1, output
    try:
        os.setsid()
        _libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        _libc.prctl(PR_SET_DUMPABLE, ctypes.c_ulong(1), 0, 0, 0)  # as after an exec: joining a namespace took it away
        _place([os.open(os.devnull, os.O_RDWR), output, output, *own], [0, 1, 2, *request["fds"]])
        says = 1
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.argv[:] = request["argv"]
        if "numpy.random" in sys.modules:  # forks must not draw the same; Python's own module sees to it by itself
            sys.modules["numpy.random"].seed()
        runpy.run_path(request["argv"][0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 (as an interpreter does with what a script raises)
        os.write(says, traceback.format_exc().encode())
    finally:
        os._exit(status & 0xFF)


def _place(fds: list[int], targets: list[int]) -> None:
    """Give descriptors the wanted numbers, and close every other one."""
    above = max(targets) + 1
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, max(above, 64)) for fd in fds]
    for fd, target in zip(high, targets, strict=True):
        os.dup2(fd, target, inheritable=target <= 2)
    last = 0
    for target in (*sorted(targets), os.sysconf("SC_OPEN_MAX")):
        if last < target:  # an empty range that starts at 0 closes all there are
            os.closerange(last, target)
        last = target + 1


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
