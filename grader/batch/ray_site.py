"""Grading on a Ray cluster: one task for each submission, on whichever node has room (the extra ``ray``).

A task carries the files of one submission and brings back its result, so nodes share no disk. They need this program,
with the same checks and versions, which each node's process verifies. Where a node is lost, Ray gives its tasks to
another; only the machine that has the batch writes records, so none is lost or doubled.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from grader.course import Exercise, find

from .graders import Grader, Task
from .here import Begun, begun, new_grader
from .records import Batch, BatchError

_RETRIES = 5  # of a task whose node or process was lost
_MOST_JOBS = 1024
_REACH_S = 10.0
_PROBE_S = 600.0  # a node may fetch models first


class RaySite:
    """A cluster, as a `here.Site`."""

    def __init__(self, address: str, tier_name: str) -> None:
        """Connect to it. Raises BatchError."""
        if importlib.util.find_spec("ray") is None:
            raise BatchError("--ray needs Ray, which is not installed: pip install -e '.[ray]'")
        import ray

        self._ray, self._tier_name = ray, tier_name
        try:
            _reach(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
        except Exception as error:
            raise BatchError(f"cannot reach a Ray cluster at {address} ({_first_line(error)})") from error
        self._with_gpus = tier_name != "twin" and ray.cluster_resources().get("GPU", 0) >= 1

    def begin(self, exercises: tuple[Exercise, ...], seed: int) -> Begun:
        """What the node has that takes the first task; the others must have the same."""
        try:
            told = self._ray.get(
                self._task(_begun).remote(self._tier_name, [e.id for e in exercises], seed), timeout=_PROBE_S
            )
        except self._ray.exceptions.RayError as error:
            raise BatchError(f"the cluster has no room for a task, or none of its own: {_first_line(error)}") from error
        if isinstance(told, str):
            raise BatchError(f"a node of the cluster cannot grade: {told}")
        if told.batch.tier == "twin":
            self._with_gpus = False
        return told

    def graders(self, task: Task, batch: Batch, jobs: int | None, submissions: int) -> list[Grader]:
        room = int(self._ray.cluster_resources().get("GPU" if self._with_gpus else "CPU", 1))
        number = min(jobs or room, submissions, _MOST_JOBS)
        return [RayGrader(self._ray, self._task(_graded), task, batch) for _ in range(number)]

    def close(self) -> None:
        self._ray.shutdown()

    def _task(self, function: Any) -> Any:
        """A Ray task with what one submission takes: a core, and where the tier needs one, a GPU."""
        return self._ray.remote(num_cpus=1, num_gpus=int(self._with_gpus), max_retries=_RETRIES)(function)


class RayGrader:
    """A `graders.Grader` that gives each submission to the cluster and waits for it."""

    def __init__(self, ray: Any, function: Any, task: Task, batch: Batch) -> None:
        self._ray, self._function, self._task, self._batch = ray, function, task, batch
        self._running: Any = None
        self._closed = False
        self._lock = threading.Lock()

    def start(self) -> None:
        pass

    def grade(self, folder: Path, person: str) -> dict[str, Any]:
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with self._lock:
            if self._closed:
                return _failed("stopped")
            self._running = self._function.remote(self._task, self._batch, files, str(folder))
        try:
            return self._ray.get(self._running)
        except self._ray.exceptions.RayError as error:
            return _failed(f"the cluster could not grade it: {type(error).__name__}: {_first_line(error)}")
        finally:
            with self._lock:
                self._running = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._ray.cancel(self._running, force=True)  # its process is ended, and what it had started with it


def _reach(address: str) -> None:
    """Find out in seconds what takes Ray minutes. Raises OSError: nobody listens at HOST:PORT or ray://HOST:PORT."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()


# -- on a node


#: What this process grades with, and the difference that keeps it from it; made with the first task of a batch.
_kept: tuple[Task, Grader | None, str] | None = None


def _begun(tier_name: str, names: list[str], seed: int) -> Begun | str:
    from grader import tiers
    from grader.errors import spoken_errors

    try:
        return begun(tiers.choose(tier_name), tuple(map(find, names)), seed)
    except spoken_errors() as error:
        return str(error)


def _graded(task: Task, batch: Batch, files: dict[str, bytes], shown: str) -> dict[str, Any]:
    """Grade files; a message that names their folder names ``shown`` instead."""
    grader, why = _grader(task, batch)
    if grader is None:
        return _failed(f"{platform.node()} is not like the node that the batch began on: {why}")
    with tempfile.TemporaryDirectory(prefix="trtprep-") as folder:
        for name, data in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        told = grader.grade(Path(folder), os.path.basename(shown))
        if told["result"] is not None:
            for exercise in told["result"]["exercises"]:
                for found in exercise["tasks"]:
                    found["message"] = found["message"].replace(folder, shown)
        return told


def _grader(task: Task, batch: Batch) -> tuple[Grader | None, str]:
    """This process's grader, or why it may not grade."""
    global _kept
    if _kept is None or _kept[0] != task:
        if _kept is not None and _kept[1] is not None:
            _kept[1].close()
        there = _begun(task.tier, list(task.exercises), task.seed)
        why = there if isinstance(there, str) else there.batch.difference(batch)
        _kept = task, None if why else new_grader(task), why
    return _kept[1], _kept[2]


def _failed(error: str) -> dict[str, Any]:
    return {"result": None, "error": error, "peak_bytes": 0}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
