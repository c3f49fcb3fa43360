"""Starts the engine runner: lock down first, then serve. Run by `grader.processes.runner`."""

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "grader" / "inside")]
sys.path += filter(None, os.environ["TRTPREP_PACKAGES"].split(os.pathsep))

from trtprep_worker.lockdown import start  # noqa: E402 (nothing may be imported before)

channel = start()

from grader.engines.serve import serve  # noqa: E402

serve(channel, os.environ["TRTPREP_TIER"])
