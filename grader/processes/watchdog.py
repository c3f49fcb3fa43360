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


@dataclass(frozen=True)
class Usage:
    """What a tree uses now: resident bytes, CPU seconds so far, processes and threads."""

    memory_bytes: int
    cpu_s: float
    tasks: int


class Tree:
    """The descendants of one process that this process started."""

    def __init__(self, root: int, *, helpers: int, spared: int) -> None:
        """Watch the tree below a process.

        Args:
            root: the process's id. It must not be waited for as long as the tree is used.
            helpers: how many of the topmost processes (root among them) are ours, not the program's.
            spared: how many of those to leave alone in `kill`, because they collect the others' orphans.
        """
        self._root = root
        self._helpers = helpers
        self._spared = spared
        self._known: dict[int, psutil.Process] = {}

    def usage(self, most_tasks: int, most_memory: int) -> Usage:
        """Measure the tree.

        Args:
            most_tasks: with more tasks than this, count no further and measure nothing else.
            most_memory: in bytes; with more than this, memory that processes share is counted once.
        """
        pids, tasks = [], -self._helpers
        for pid, _, threads in self._walk():
            pids.append(pid)
            tasks += threads
            if tasks > most_tasks:
                return Usage(0, 0.0, tasks)
        memory, cpu = 0, 0.0
        known: dict[int, psutil.Process] = {}
        for pid in pids:
            try:
                process = known[pid] = self._known.get(pid) or psutil.Process(pid)
                memory += process.memory_info().rss
                cpu += sum(process.cpu_times()[:4])  # user and system: its own and its dead children's
            except psutil.NoSuchProcess:
                known.pop(pid, None)
        self._known = known
        if memory > most_memory:  # a fork shares its parent's pages; to find out how many is slow
            memory = sum(_proportional_bytes(process) for process in known.values())
        return Usage(memory, cpu, max(tasks, 0))

    def kill(self, patience_s: float = 10.0) -> None:
        """Send SIGKILL to the program's processes, again and again until none is left.

        Where the tree has its own PID namespace, its init is among them, and all end at once. Elsewhere
        a process may fork while it is being looked for, hence the repetition.
        """
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = False
            # Each is killed as soon as it is found: a growing tree might never be listed to its end.
            for pid, depth, threads in self._walk():
                if depth >= self._spared and threads:
                    found = True
                    # The topmost leads a process group: a plain fork bomb is all in it, and ends at one stroke.
                    _kill(pid, whole_group=depth == self._spared)
                if time.monotonic() > deadline:
                    break
            if not found:
                return
            time.sleep(0.002)

    def _walk(self) -> Iterator[tuple[int, int, int]]:
        """Yield (pid, depth, threads) for the root and all below it. A zombie has no threads."""
        todo = [(self._root, 0)]
        while todo:
            pid, depth = todo.pop(0)
            children, threads = _look(pid)
            yield pid, depth, threads
            todo += [(child, depth + 1) for child in children]


def _kill(pid: int, *, whole_group: bool) -> None:
    try:
        if whole_group:
            os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended meanwhile, or leads no group


def _look(pid: int) -> tuple[list[int], int]:
    """Return a process's children and the number of its threads (none of either if it is gone)."""
    # psutil finds children by reading every process of the machine, too dear for fifty times a second.
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        tids = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return [], 0
    children: list[int] = []
    for tid in tids:
        try:
            with open(f"/proc/{pid}/task/{tid}/children", "rb") as file:
                children += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):
            if not _kernel_lists_children():
                return _children_by_search(pid), len(tids)
    return children, 0 if fields[0] in (b"Z", b"X") else len(tids)


def _proportional_bytes(process: psutil.Process) -> int:
    """Return a process's resident bytes, of which each shared one counts as the fraction that is its own."""
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except PermissionError:  # not ours to look into: what it holds counts in full
        return process.memory_info().rss
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
