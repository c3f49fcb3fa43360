"""Starts the candidate worker: lock down first, then serve calls. Run by `grader.processes.candidate`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path += filter(None, os.environ["TRTPREP_PACKAGES"].split(os.pathsep))

from trtprep_worker.lockdown import start

channel = start()

from trtprep_worker.worker import serve  # noqa: E402

serve(channel)
