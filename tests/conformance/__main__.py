"""All of the conformance suite on one machine, a row for each case, and the table of several machines' rows.

    python -m tests.conformance --tier gpu --out gpu.jsonl       on a GPU box with TensorRT 8.6, 10 or 11 and PyCUDA
    python -m tests.conformance --tier twin --out twin.jsonl     anywhere
    python -m tests.conformance --table twin.jsonl gpu.jsonl     the table, in Markdown

The file grows row by row, and a run that was broken off goes on behind its last row. Groups: `layers` (networks of
one layer), `random` (`--networks` of them), `legal` and `illegal` (programs, each in a process of its own with a time
limit). `matrix` has thousands of builds and runs only when it is asked for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from grader import tiers
from tests.conformance import layers, matrix, random_networks
from tests.conformance.cells import ENTRIES
from tests.conformance.layer_table import CASES
from tests.conformance.programs import Program, Told, programs, runner

GROUPS = ("layers", "random", "legal", "illegal")
#: Whether a row is what it should be: "agrees", "differs", "open" (the documentation leaves it so) or "lacking".
Row = tuple[str, str, str]


def _layers(tier: tiers.Tier, done: set[str], networks: int) -> Iterator[Row]:
    words = {True: "agrees", False: "differs", None: "open"}
    for row in layers.rows(tier, [case for case in CASES if case.name not in done]):
        lacks = row.case.lacking and tier.tensorrt.startswith(row.case.lacking)
        yield row.case.name, "lacking" if lacks and row.agrees is None else words[row.agrees], row.says


def _random(tier: tiers.Tier, done: set[str], networks: int) -> Iterator[Row]:
    seeds = [seed for seed in range(networks) if f"seed {seed}" not in done]
    for result in random_networks.results(tier, seeds):
        outcome = "differs" if result.differs else "open" if result.refused else "agrees"
        says = result.differs or result.refused or f"{result.layers} layers, {result.error:.0%} of the bound"
        yield f"seed {result.seed}", outcome, says


def _matrix(tier: tiers.Tier, done: set[str], networks: int) -> Iterator[Row]:
    words = {"agrees": "agrees", "refused": "lacking", "left out": "lacking", "DIFFERS": "differs", "FAILS": "differs"}
    for entry in ENTRIES.values():
        if any(name.startswith(f"{entry.name} [") for name in done):
            continue  # an entry that was begun is not begun again
        for cell in matrix.cells(tier, [entry]):
            yield f"{entry.name} [{cell.dtype} {cell.form}]", words[cell.outcome], f"{cell.outcome} {cell.says}"


def _outcome(tier: tiers.Tier, program: Program, told: Told) -> str:
    if told.says.startswith("lacking"):
        return "lacking"
    if program.legal:
        return "agrees" if told.good else "differs"
    if tier.name == "twin":  # which has to say so
        return "agrees" if program.kind in told.kinds else "differs"
    return "open"  # whatever a GPU does is what the row is for


def _programs(legal: bool) -> Callable[[tiers.Tier, set[str], int], Iterator[Row]]:
    def rows(tier: tiers.Tier, done: set[str], networks: int) -> Iterator[Row]:
        wanted = [p for p in programs() if p.legal == legal and p.name not in done]
        with runner(tier) as machine, ThreadPoolExecutor(machine.at_once) as pool:
            for program, told in zip(wanted, pool.map(machine.run, wanted), strict=True):
                yield program.name, _outcome(tier, program, told), told.says

    return rows


_GROUPS: dict[str, Callable[[tiers.Tier, set[str], int], Iterator[Row]]] = {
    "layers": _layers, "random": _random, "legal": _programs(True), "illegal": _programs(False), "matrix": _matrix,
}  # fmt: skip


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, less a last one that was broken off."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def run(tier: tiers.Tier, out: Path, groups: list[str], networks: int) -> dict[str, int]:
    """Run what the file does not have yet; the count of each outcome."""
    kept = read(out)
    machine = f"{tier.name}, TensorRT {tier.tensorrt}"
    if other := {row["machine"] for row in kept} - {machine}:
        raise SystemExit(f"{out} has rows of {other.pop()}: give another file for {machine}")
    out.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
    counts: dict[str, int] = {}
    for group in groups:
        done = {row["case"] for row in kept if row["group"] == group}
        with out.open("a") as file:
            for case, outcome, says in _GROUPS[group](tier, done, networks):
                row = {"machine": machine, "group": group, "case": case, "outcome": outcome, "says": says}
                file.write(f"{json.dumps(row)}\n")
                file.flush()
                counts[outcome] = counts.get(outcome, 0) + 1
                if outcome == "differs":
                    print(f"{group}: {case}: {says}", flush=True)
    return counts


def table(files: list[list[dict[str, Any]]]) -> str:
    """Markdown: a row for each case, a column for each machine; random networks as one row, since they are many."""
    machines = [rows[0]["machine"] for rows in files if rows]
    told = [{(row["group"], row["case"]): row for row in rows} for rows in files if rows]
    cases = list(dict.fromkeys(case for rows in told for case in rows))
    lines = [f"| case | {' | '.join(machines)} | agree |", f"|---{'|---' * len(machines)}|---|"]
    for key in cases:
        if key[0] in ("random", "matrix") and all(
            rows.get(key, {"outcome": "agrees"})["outcome"] == "agrees" for rows in told
        ):
            continue
        found = [rows.get(key) for rows in told]
        says = [_cell(row) for row in found]
        lines.append(f"| {key[0]}: {key[1]} | {' | '.join(says)} | {_agree(found)} |")
    for group in ("random", "matrix"):
        counted = [sum(row["outcome"] == "agrees" for k, row in rows.items() if k[0] == group) for rows in told]
        if any(counted):
            all_of = [sum(k[0] == group for k in rows) for rows in told]
            says = [f"{right} of {whole} agree" for right, whole in zip(counted, all_of, strict=True)]
            lines.append(f"| {group}: all | {' | '.join(says)} | |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any] | None) -> str:
    return "not run" if row is None else row["says"].replace("|", "\\|").replace("\n", " ")[:120]


def _agree(rows: list[dict[str, Any] | None]) -> str:
    """The worst outcome of all machines; a dash where one of them did not run the case."""
    outcomes = {row["outcome"] for row in rows if row}
    for outcome, word in (("differs", "no"), ("lacking", "lacking"), ("open", "open")):
        if outcome in outcomes:
            return word
    return "-" if None in rows else "yes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="auto")
    parser.add_argument("--out", type=Path, help="where the rows go; without, --table")
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=_GROUPS)
    parser.add_argument("--networks", type=int, default=100, help="how many randomly drawn networks")
    parser.add_argument("--table", type=Path, nargs="+", help="files of rows, which this prints as one table")
    given = parser.parse_args()
    if given.table:
        print(table([read(path) for path in given.table]), end="")
        return
    if given.out is None:
        parser.error("--out FILE or --table FILES")
    tier = tiers.choose(given.tier)
    print(f"tier {tier.name}, TensorRT {tier.tensorrt}, {tier.gpu or 'no GPU'}")
    counts = run(tier, given.out, given.groups, given.networks)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing left to run")


if __name__ == "__main__":
    main()
