"""A class of 200 whose right marks are known before anything is graded, and what grading it takes.

    python -m tests.benchmarks.class_of_200 make DIR             submissions of c1 and q1, and their right marks
    python -m tests.benchmarks.class_of_200 measure DIR OUT      grade them: every mark, time, memory
    python -m tests.benchmarks.class_of_200 kill DIR OUT         the same, killed twice with -9 at random moments
    python -m tests.benchmarks.class_of_200 check DIR OUT        every mark of a batch that was graded before
    python -m tests.benchmarks.class_of_200 same OUT OTHER       whether two batches gave the same grades

`measure` and `kill` go on where they stopped, as `trtprep batch` does, and grade with seed 1 unless told otherwise.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.benchmarks.class_of_200.grading import differences, graded, killed, measured, wrong
from tests.benchmarks.class_of_200.making import make


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--count", type=int, default=200)
    for name in ("measure", "kill"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument("out", type=Path)
        command.add_argument("--jobs", type=int, default=2)
        command.add_argument("--seed", type=int, default=1)
        command.add_argument("--moments", type=int, default=None, help="seed of the moments of the kills")
    checking = commands.add_parser("check")
    checking.add_argument("folder", type=Path)
    checking.add_argument("out", type=Path)
    comparing = commands.add_parser("same")
    comparing.add_argument("out", type=Path)
    comparing.add_argument("other", type=Path)
    wish = parser.parse_args()

    if wish.command == "make":
        print(f"{make(wish.folder, wish.count)} submissions in {wish.folder}")
        return 0
    if wish.command == "same":
        return _told(differences(wish.out, wish.other), "the same grades")
    if wish.command == "measure":
        run = graded(wish.folder, wish.out, wish.jobs, wish.seed)
        print("\n".join(measured(wish.out, run)))
    if wish.command == "kill":
        print("\n".join(killed(wish.folder, wish.out, wish.jobs, wish.seed, random.Random(wish.moments))))
    return _told(wrong(wish.folder, wish.out), "every mark is right")


def _told(troubles: list[str], well: str) -> int:
    print("\n".join(troubles[:50]) if troubles else well)
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
