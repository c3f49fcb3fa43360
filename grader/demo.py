"""``make demo``: the reference answer to c1 names real photos through a real TensorRT build."""

from __future__ import annotations

import secrets
import sys

from rich.console import Console
from rich.table import Table

from grader import tiers
from grader.course import SOLUTIONS, find
from grader.errors import spoken_errors
from grader.fixtures.efficientnet import efficientnet_lite0_onnx
from grader.fixtures.imagenet import labels
from grader.fixtures.photos import PHOTO_CLASSES, photo
from grader.processes.candidate import Candidate, GivenFile


def main() -> None:
    """Prints the classes that the engine gives for the fixtures' photos. Raises SystemExit when one is wrong."""
    console = Console(highlight=False)
    tier = tiers.choose()
    answer = find("c1").answer(SOLUTIONS)
    names, paths = labels(), {name: photo(name) for name in PHOTO_CLASSES}
    with Candidate(answer, tier, secrets.token_bytes(32)) as candidate:
        model = GivenFile("model.onnx", efficientnet_lite0_onnx().read_bytes())
        built = candidate.call("build_engine", model, seconds=60)
        photos = [GivenFile(path.name, path.read_bytes()) for path in paths.values()]
        rows = candidate.call("classify", built.value, photos, names, 3).value
    title = f"EfficientNet-Lite0, TensorRT {tier.tensorrt}, tier {tier.name}"
    table = Table("photo", "class", "what the engine sees", title=title)
    for name, row in zip(paths, rows, strict=True):
        seen = ", ".join(f"{label} {chance:.0%}" for label, chance in row)
        table.add_row(name, str(names.index(row[0][0])), seen)
    console.print(table)
    wrong = [name for name, row in zip(paths, rows, strict=True) if names.index(row[0][0]) != PHOTO_CLASSES[name]]
    if wrong:
        raise SystemExit(f"unexpected classes for {', '.join(wrong)}")


if __name__ == "__main__":
    try:
        main()
    except spoken_errors() as error:
        sys.exit(f"trtprep: {error}")
