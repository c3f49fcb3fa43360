"""Plain `nbgrader autograde` and `trtprep batch` on the same answers to c1, in turns on the same two cores.

    python -m tests.benchmarks.nbgrader_alone DIR [--rounds 3] [--each 10]

In an environment with nbgrader (`make notebooks`). Each round grades --each submissions both ways: by two
`nbgrader autograde` at once, each with a course folder and a database of its own, and by `trtprep batch --jobs 2`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from grader.course import find
from tests.benchmarks.class_of_200.making import answers

HERE, C1 = Path(__file__).parent, find("c1")
CORES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty or missing folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=10)
    wish = parser.parse_args()
    wish.folder.mkdir(parents=True)
    found = answers(C1)
    chosen = [found[number % len(found)].source for number in range(wish.rounds * wish.each)]
    _nbgrader(wish.folder, "warm", chosen[:CORES])  # the plan that is kept; the batch's own comes with its first run
    _batch(wish.folder, "warm", chosen[:CORES])
    rates: dict[str, list[float]] = {"nbgrader autograde": [], "trtprep batch": []}
    for number in range(wish.rounds):
        sources = chosen[number * wish.each : (number + 1) * wish.each]
        for name, way in (("nbgrader autograde", _nbgrader), ("trtprep batch", _batch)):
            seconds = way(wish.folder, f"round-{number}", sources)
            rates[name].append(60 * len(sources) / seconds)
            print(f"round {number + 1}, {name}: {len(sources)} submissions in {seconds:.1f} s", flush=True)
    for name, per_minute in rates.items():
        print(f"{name}: {statistics.median(per_minute):.1f} a minute ({min(per_minute):.1f} to {max(per_minute):.1f})")
    ratios = [ours / plain for plain, ours in zip(*rates.values(), strict=True)]
    print(f"times as many: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


def _nbgrader(folder: Path, name: str, sources: list[str]) -> float:
    """Seconds that autograding takes; making the courses is not counted."""
    courses = []
    for place in range(CORES):
        course = folder / f"nbgrader-{name}-{place}"
        _write(course / "source" / C1.id / f"{C1.id}.ipynb", _notebook(""))
        (course / "nbgrader_config.py").write_text("c = get_config()\nc.Execute.timeout = 600\n", encoding="utf-8")
        for number, source in enumerate(sources[place::CORES]):
            _write(course / "submitted" / f"student-{number:02}" / C1.id / f"{C1.id}.ipynb", _notebook(source))
        _wait([_start(["nbgrader", "generate_assignment", C1.id], course, folder)])
        courses.append(course)
    begun = time.perf_counter()
    _wait([_start(["nbgrader", "autograde", C1.id], course, folder) for course in courses])
    return time.perf_counter() - begun


def _batch(folder: Path, name: str, sources: list[str]) -> float:
    submissions = folder / f"batch-{name}"
    for number, source in enumerate(sources):
        _write(submissions / f"student-{number:02}" / C1.id / "stub.py", source)
    begun = time.perf_counter()
    options = ["--out", str(folder / f"results-{name}"), "--exercise", "c1", "--jobs", str(CORES)]
    _wait([_start(["grader", "batch", str(submissions), *options], folder, folder)])
    return time.perf_counter() - begun


def _notebook(answer: str) -> str:
    found = json.loads((HERE / f"{C1.id}.ipynb").read_text(encoding="utf-8"))
    (cell,) = (c for c in found["cells"] if c["id"] == "answer")
    cell["source"] = answer or cell["source"]
    return json.dumps(found)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _start(command: list[str], cwd: Path, kept: Path) -> subprocess.Popen[str]:
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # nbgrader calls alembic
    env = os.environ | {"PATH": commands, "NBGRADER_ALONE_KEPT": str(kept.resolve())}
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _wait(running: list[subprocess.Popen[str]]) -> None:
    """Raises SystemExit with what a command printed where it failed."""
    for process in running:
        printed, _ = process.communicate()
        if process.returncode not in ((0, 1) if "batch" in process.args else (0,)):  # 1: some answer failed a task
            raise SystemExit(f"{process.args} ended with {process.returncode}\n{printed[-3000:]}")


if __name__ == "__main__":
    main()
