"""In a notebook's kernel: this machine's tensorrt and pycuda, and the project's grader for the notebook's answer cells.

What runs here is its owner's: nobody's marks are made in a kernel. `check` tells what the grader says of the cells'
source; the recorded mark is made the same way from the notebook that was handed in (`grader.notebooks.autograde`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import Any

from grader import course, tiers
from grader.notebooks import cells, outside

_kept = contextlib.ExitStack()


class _Session:
    """What this kernel has seen of its notebook."""

    def __init__(self, exercise: course.Exercise, tier: str) -> None:
        self.exercise, self.tier = exercise, tier
        self.given: dict[str, str] = {}

    def before_cell(self, info: Any) -> None:
        """Keeps the source of an answer's cell, as it is run."""
        source = info.raw_cell or ""
        if name := cells.marked(source):
            self.given[name] = source


_session: _Session | None = None


class TaskFailed(AssertionError):  # noqa: N818 (it reads as what happened)
    """The task of a graded cell is not solved; the text says what is wrong."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the message, since the frames are the grader's."""
        return str(self).splitlines()


def start(exercise: str, tier: str = "auto") -> None:
    """Make ``import tensorrt`` and ``import pycuda.driver`` work in this kernel, and watch for the answers' cells.

    Args:
        exercise: its id.
        tier: as for `trtprep run`.

    Raises:
        NoTier: nothing can run engines here.
        RuntimeError: this is no notebook's kernel.
    """
    global _session
    shell = _shell()
    found = course.find(exercise)
    if _session is None:
        chosen = tiers.choose(tier)
        _show_messages_as_output()
        _bridge(chosen)
        _session = _Session(found, chosen.name)
        shell.events.register("pre_run_cell", lambda info: _session.before_cell(info) if _session else None)
    _session.exercise = found
    import tensorrt

    where = "no GPU: engines run on the twin" if _session.tier == "twin" else "engines run on the GPU"
    print(f"{found.title}: TensorRT {tensorrt.__version__}, tier {_session.tier} ({where})")


def check(task: str) -> None:
    """Let the grader judge one task by the answer's cells as they were last run. Prints what it says.

    Raises:
        TaskFailed: the task is not solved.
    """
    if _session is None:
        raise RuntimeError("run the notebook's first cell first: it calls start()")
    found = _session.exercise.task(task)
    answer = cells.assemble(_session.exercise, _session.given)
    result = outside.grade(_session.exercise, answer, tasks=[found.id], tier=_session.tier)
    (ended,) = (t for t in result["exercises"][0]["tasks"] if t["id"] == found.id)
    if ended["status"] in ("failed", "blocked"):
        raise TaskFailed(f"{outside.told(ended)}\n(a hint: trtprep hint {_session.exercise.short} {found.id})")
    print(outside.told(ended))


def on_gpu() -> bool:
    """Whether engines run on a GPU here, so that times mean something."""
    return _session is not None and _session.tier != "twin"


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        get_ipython = None
    shell = get_ipython() if get_ipython else None
    if shell is None:
        raise RuntimeError("start() is for a notebook: elsewhere, use `trtprep python FILE`")
    return shell


def _bridge(tier: tiers.Tier) -> None:
    from grader.playground import device_for
    from grader.processes.places import INSIDE

    sys.path.append(str(INSIDE))
    from trtprep_worker import bridge, device_link  # as candidates' processes import it, the twin's client with it

    if tier.name == "twin":
        _, client = _kept.enter_context(device_for(tier))
        device_link.connect(client)
        atexit.register(_kept.close)
    bridge.install(tier.name, {})


def _show_messages_as_output() -> None:
    """stderr becomes stdout: nbgrader takes a line on stderr, and TensorRT writes its warnings there, for a failure."""
    sys.stderr = sys.stdout
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os.dup2(1, 2)  # what the C++ of TensorRT writes
