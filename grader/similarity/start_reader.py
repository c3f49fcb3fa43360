"""Starts the process that reads submissions' texts: lock down first, then serve. Run by `grader.similarity.reader`."""

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "grader" / "inside")]
sys.path += filter(None, os.environ["TRTPREP_PACKAGES"].split(os.pathsep))

from trtprep_worker.lockdown import start  # noqa: E402 (nothing may be imported before)

channel = start()

import numpy as np  # noqa: E402
from trtprep_worker import wire  # noqa: E402

from grader.similarity.tokens import MOST_TOKENS, TooLong, tokens  # noqa: E402

wire.send(channel, {})
while True:
    try:
        text = wire.receive(channel)["text"]
    except wire.Closed:
        break
    try:
        code, lines = tokens(text)
        wire.send(channel, {"code": np.array(code, np.uint32), "lines": np.array(lines, np.uint32)})
    except TooLong:
        wire.send(channel, {"error": f"more than {MOST_TOKENS:,} tokens"})
