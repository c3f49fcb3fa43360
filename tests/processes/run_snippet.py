"""Start script of the sandbox's tests: locks itself down, then runs a piece of Python that the test sends.

The snippet may call `tell(value)`, which sends a JSON value to the test.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "grader" / "inside"))

from trtprep_worker.lockdown import receive, send, start

channel = start()
message = receive(channel)
exec(message["code"], {"tell": lambda value: send(channel, {"value": value}), **message["names"]})
