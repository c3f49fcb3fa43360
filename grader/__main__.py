"""``python -m grader`` is ``trtprep``."""

import sys

# ``-m`` puts the current folder first, and a submission's numpy.py may lie there: it must not become the grader's.
if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

from grader.cli import main

main()
