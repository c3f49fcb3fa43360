"""Measures a tree of processes and ends it.

Kernel limits count per process or per user; this counts what one sandboxed process and everything that
it started use together.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_RECOUNT_S = 0.02
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What a tree uses now: resident bytes, CPU seconds so far, processes and threads."""

    memory_bytes: int
    cpu_s: float
    tasks: int


@dataclass(frozen=True)
class _Process:
    """One process of a tree as it was found; one that has ended, waited for or not, has no threads and no memory."""

    pid: int
    depth: int
    threads: int = 0
    memory_bytes: int = 0
    cpu_s: float = 0.0


class Tree:
    """The descendants of one process that this process started."""

    def __init__(self, *roots: int, helpers: int, spared: int) -> None:
        """Watch the trees below some processes, as if they were one.

        Args:
            roots: the processes' ids. They must not be waited for as long as the tree is used.
            helpers: how many processes in them (the roots among these) are ours, not the program's.
            spared: how many levels of them to leave alone in `kill`, because they collect the others' orphans.
        """
        self._roots = roots
        self._helpers = helpers
        self._spared = spared

    def usage(self, most_tasks: int, most_memory: int) -> Usage:
        """Measure the tree.

        Args:
            most_tasks: with more tasks than this, count no further and measure nothing else.
            most_memory: in bytes; with more than this, memory that processes share is counted once.
        """
        seen, tasks = self._seen(most_tasks)
        if tasks > most_tasks:
            return Usage(0, 0.0, tasks)
        cpu = sum(process.cpu_s for process in seen)
        seen = [process for process in seen if process.depth >= self._spared]  # a template's fork is as large as it
        memory = sum(process.memory_bytes for process in seen)
        if memory > most_memory:  # a fork shares its parent's pages; to find out how many is slow
            memory, counted = 0, time.monotonic()
            for process in seen:
                memory += _proportional_bytes(process)
                if time.monotonic() > counted + _RECOUNT_S:  # meanwhile a program that forks for ever goes on
                    tasks = self._seen(most_tasks)[1]
                    if tasks > most_tasks:
                        return Usage(0, 0.0, tasks)
                    counted = time.monotonic()
        return Usage(memory, cpu, max(tasks, 0))

    def _seen(self, most_tasks: int) -> tuple[list[_Process], int]:
        """The processes, and how many tasks the program's have: with more than ``most_tasks``, no further."""
        seen, tasks = [], -self._helpers
        for process in self._walk():
            seen.append(process)
            tasks += process.threads
            if tasks > most_tasks:
                break
        return seen, tasks

    def kill(self, patience_s: float = 10.0) -> None:
        """Send SIGKILL to the program's processes, again and again until none is left.

        Where the tree has its own PID namespace, its init is among them, and all end at once. Elsewhere
        a process may fork while it is being looked for, hence the repetition.
        """
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = False
            # Each is killed as soon as it is found: a growing tree might never be listed to its end.
            for process in self._walk():
                if process.depth >= self._spared and process.threads:
                    found = True
                    # The topmost leads a process group: a plain fork bomb is all in it, and ends at one stroke.
                    _kill(process.pid, whole_group=process.depth == self._spared)
                if time.monotonic() > deadline:
                    break
            if not found:
                return
            time.sleep(0.002)

    def _walk(self) -> Iterator[_Process]:
        """Yield the roots and all below them."""
        todo = [(root, 0) for root in self._roots]
        while todo:
            pid, depth = todo.pop(0)
            process, children = _look(pid, depth)
            yield process
            todo += [(child, depth + 1) for child in children]


def _kill(pid: int, *, whole_group: bool) -> None:
    try:
        if whole_group:
            os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended meanwhile, or leads no group


def _look(pid: int, depth: int) -> tuple[_Process, list[int]]:
    """Return a process and its children."""
    # psutil finds children by reading every process of the machine, too dear for fifty times a second.
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        tids = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return _Process(pid, depth), []
    if fields[0] in (b"Z", b"X"):
        process = _Process(pid, depth, cpu_s=_cpu_s(fields))
    else:
        process = _Process(pid, depth, len(tids), int(fields[21]) * _PAGE_BYTES, _cpu_s(fields))
    children: list[int] = []
    for tid in tids:
        try:
            with open(f"/proc/{pid}/task/{tid}/children", "rb") as file:
                children += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):
            if not _kernel_lists_children():
                return process, _children_by_search(pid)
    return process, children


def children_of(pid: int) -> list[int]:
    """The ids of a process's children; none if it is gone."""
    return _look(pid, 0)[1]


def _cpu_s(fields: list[bytes]) -> float:
    """User and system time, of a process and of its children that it has waited for."""
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def _proportional_bytes(process: _Process) -> int:
    """Return a process's resident bytes, of which each shared one counts as the fraction that is its own."""
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except PermissionError:  # not ours to look into: what it holds counts in full
        return process.memory_bytes
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return 0  # it has ended


def _kernel_lists_children() -> bool:
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children_by_search(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def folder_bytes(folder: Path) -> int:
    """Return the disk space, in bytes, that the files below a folder take up."""
    total, todo = 0, [str(folder)]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # it vanished, or was made unreadable: what cannot be seen is bounded by the file limit
    return total
