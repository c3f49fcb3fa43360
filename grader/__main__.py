"""``python -m grader`` is ``trtprep``."""

from grader.cli import main

main()
