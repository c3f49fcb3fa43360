"""Starts the device process: lock down first, then serve. Run by `grader.processes.candidate`.

The seal's key comes over the channel, and the descriptor of the candidate's end is named in the
environment.
"""

import os
import socket
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "grader" / "inside")]
sys.path += filter(None, os.environ["TRTPREP_PACKAGES"].split(os.pathsep))

from trtprep_worker.lockdown import start  # noqa: E402 (nothing may be imported before)

control = start()

from grader.inside.trtprep_worker import wire  # noqa: E402
from grader.twin.device import Device, serve  # noqa: E402

client = socket.socket(fileno=int(os.environ["TRTPREP_CLIENT_FD"]))
device = Device(wire.receive(control)["key"])
wire.send(control, {"ready": True})
serve(device, client, control)
