"""Stands above a program where it has no PID namespace of its own: `python -I -S reaper.py ARGV...`

A program can fork twice and so lose its parent. As a "child subreaper" this process becomes the parent of
all such orphans; the grader can find them below it, and when the program ends, or the grader dies, they are
ended too. It ends with the program's status, or 128 + N after signal N, as bwrap does.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Call prctl(2); raises OSError if the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), "prctl")


def below(root: int) -> list[int]:
    """Return the ids of all processes below `root`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(name))
    found, todo = [], [root]
    while todo:
        todo += (more := children.get(todo.pop(), []))
        found += more
    return found


def end_all() -> None:
    """Kill and collect every process below this one."""
    while True:
        for pid in below(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def end_everything(*_: object) -> None:
    """Handler of the signal that the grader's death sends."""
    end_all()
    shutil.rmtree(os.environ["TRTPREP_SCRATCH"], ignore_errors=True)  # nobody else is left to do it
    os._exit(1)


def main(argv: list[str]) -> int:
    """Run a program to its end; return the status to end with."""
    grader = os.getppid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, end_everything)
    if os.getppid() != grader:
        return 1  # it died before it could be watched
    program = os.fork()
    if program == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()  # a group of its own, which the grader can end without ending this process
        os.execv(argv[0], argv)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == program:
            end_all()
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
