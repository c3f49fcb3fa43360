"""The course of notebooks (`notebooks/`): made from walkthroughs and solutions, and graded outside their kernels.

`start`, `check` and `on_gpu` are for a notebook's cells; `extract` is for whoever grades one.
"""

from __future__ import annotations

from grader.notebooks.kernel import check, on_gpu, start
from grader.notebooks.reading import NotebookError, extract

__all__ = ["NotebookError", "check", "extract", "on_gpu", "start"]
