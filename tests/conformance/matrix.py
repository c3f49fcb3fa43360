"""The matrix: every layer type x DataType x static, dynamic and empty shapes, against NumPy in float64.

    python -m tests.conformance.matrix [--tier gpu] [--only TEXT] [--write]

builds each cell's network with this tier's builder and runs what it accepts. A cell `agrees`; or its builder `refuses`
it; or it is `left out`, which the twin says in its error; or it `DIFFERS`, or `FAILS`. ``--write`` keeps the builder's
refusals in `matrix_refused.tsv` and the table in `docs/conformance.md`, of the rows that were run. `test_matrix.py`
holds the cells against `matrix_left_out.toml`, which names what the twin may leave out, with the reason.
"""

from __future__ import annotations

import argparse
import re
import secrets
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grader import tiers
from grader.judging.judge import error_of
from grader.processes.candidate import CallFailed, Candidate
from tests.conformance.cells import DTYPES, ENTRIES, Entry

_PROGRAM = Path(__file__).with_name("matrix_program.py")
_REFUSED = Path(__file__).with_name("matrix_refused.tsv")
_DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
#: max|a-b| / max|b|, by the cell's type; integers and booleans are exact.
BOUNDS = {"FLOAT": 1e-4, "HALF": 1e-2, "BF16": 1e-2}
#: What differs from build to build, and where in TensorRT's sources it says so.
_NOISE = re.compile(
    r"\(Unnamed Layer\* \d+\) | In \w+ at /.*|ITensor::getDimensions: |IBuilder::buildSerializedNetwork: "
)


@dataclass(frozen=True)
class Cell:
    """``outcome``: "agrees", "refused", "left out", "DIFFERS" or "FAILS"; ``says`` is the error, or the message."""

    entry: Entry
    dtype: str
    form: str
    outcome: str
    says: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.entry.name, self.dtype, self.form


def cells(tier: tiers.Tier, entries: Iterable[Entry] | None = None) -> Iterator[Cell]:
    """Build and run each."""
    with Candidate(_PROGRAM, tier, secrets.token_bytes(32)) as program:
        for entry in ENTRIES.values() if entries is None else entries:
            for dtype in entry.dtypes:
                for form in entry.forms():
                    yield _cell(program, entry, dtype, form)


def _cell(program: Candidate, entry: Entry, dtype: str, form: str) -> Cell:
    rng = np.random.default_rng(zlib.crc32(f"{entry.name} {dtype}".encode()))
    arrays = [x.drawn(dtype, form, rng) for x in entry.inputs]
    try:
        done = program.call("run", entry.name, dtype, form, arrays, seconds=60)
    except CallFailed as failure:
        ours = failure.raised is not None and failure.raised.type == "NotImplementedError"
        return Cell(entry, dtype, form, "left out" if ours else "FAILS", _message(failure))
    kind, value = done.value
    if kind == "refused":
        return Cell(entry, dtype, form, "refused", _first_line(value))
    with np.errstate(all="ignore"):
        wanted = entry.expect(*map(_wide, arrays))
    wanted = list(wanted) if isinstance(wanted, tuple) else [wanted]
    differs = "; ".join(filter(None, (_difference(dtype, got, want) for got, want in zip(value, wanted, strict=True))))
    findings = "; ".join(finding.message for finding in done.evidence.findings)
    if differs or findings:
        return Cell(entry, dtype, form, "DIFFERS", differs or f"a finding: {findings}")
    return Cell(entry, dtype, form, "agrees", "")


def _wide(array: np.ndarray) -> np.ndarray:
    kinds: dict[str, Any] = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}
    return array.astype(kinds[array.dtype.kind])


def _difference(dtype: str, got: np.ndarray, want: np.ndarray) -> str:
    """What is wrong with an output; "" for nothing."""
    want = np.asarray(want)
    if got.shape != want.shape:
        return f"shape {got.shape}, not {want.shape}"
    if _wide(got).dtype.kind != want.dtype.kind:
        return f"type {got.dtype}, not of kind {want.dtype}"
    if want.dtype.kind != "f":
        return "" if np.array_equal(got, want) else f"{got.reshape(-1)[:8]}, not {want.reshape(-1)[:8]}"
    whole = np.isfinite(want)
    if not np.array_equal(got[~whole], want[~whole], equal_nan=True):
        return f"{got.reshape(-1)[:8]}, not {want.reshape(-1)[:8]}"
    error = (
        error_of(got[whole], want[whole])
        if whole.any() and want[whole].any()
        else float(np.abs(got[whole]).max(initial=0))
    )
    bound = BOUNDS.get(dtype, BOUNDS["HALF"] if got.dtype == np.float16 else BOUNDS["FLOAT"])
    return "" if error <= bound else f"error {error:.1e}"


def _message(failure: CallFailed) -> str:
    text = str(failure).strip().splitlines()[0] if str(failure).strip() else failure.reason
    return _first_line(re.sub(r" \(\w+\.py:\d+\)$", "", text))


def _first_line(message: str) -> str:
    return _NOISE.sub("", message.strip().split("\n")[0])[:120].strip()


_LETTER = {"static": "s", "dynamic": "d", "empty": "e", "emptied": "z"}


def refusals(found: Iterable[Cell]) -> str:
    """What the builder refuses, a line for each entry and message: entry, types and forms, message."""
    grouped: dict[tuple[str, str], dict[str, str]] = {}
    for cell in found:
        if cell.outcome == "refused":
            where = grouped.setdefault((cell.entry.name, cell.says), {})
            where[cell.dtype] = where.get(cell.dtype, "") + _LETTER[cell.form]
    lines = [
        f"{name}\t{' '.join(f'{dtype}:{forms}' for dtype, forms in where.items())}\t{message}"
        for (name, message), where in grouped.items()
    ]
    return "".join(f"{line}\n" for line in lines)


def table(found: Iterable[Cell]) -> str:
    """A row for each layer type, a column for each DataType.

    The letters of the forms that agree in every variant that the builder accepts; in brackets those that the twin
    leaves out in some; a dash where the builder refuses all.
    """
    rows: dict[str, dict[str, dict[str, set[str]]]] = {}
    for cell in found:
        at = rows.setdefault(cell.entry.types[0], {}).setdefault(cell.dtype, {})
        at.setdefault(_LETTER[cell.form], set()).add(cell.outcome)
    lines = [f"| layer type | {' | '.join(DTYPES)} |", f"|---{'|---' * len(DTYPES)}|"]
    for name, columns in sorted(rows.items()):
        lines.append(f"| {name} | {' | '.join(_told(columns.get(dtype, {})) for dtype in DTYPES)} |")
    return "\n".join(lines) + "\n"


def _told(forms: dict[str, set[str]]) -> str:
    whole = "".join(f for f in _LETTER.values() if forms.get(f, set()) - {"refused"} == {"agrees"})
    part = "".join(f for f in _LETTER.values() if "left out" in forms.get(f, ()))
    wrong = "".join(f for f in _LETTER.values() if {"DIFFERS", "FAILS"} & forms.get(f, set()))
    return (whole + (f" ({part})" if part else "") + (f" **{wrong}**" if wrong else "")).strip() or "-"


def write(found: list[Cell]) -> None:
    """Put whole rows into the file of refusals and the documentation's table, and keep the others."""
    names = {cell.entry.name for cell in found}
    kept = [line for line in _REFUSED.read_text().splitlines() if line.split("\t")[0] not in names]
    order = list(ENTRIES)
    lines = [*(line for line in kept if line.split("\t")[0] in order), *refusals(found).splitlines()]
    lines.sort(key=lambda line: order.index(line.split("\t")[0]))
    _REFUSED.write_text("".join(f"{line}\n" for line in lines))
    text, begin, end = _DOCS.read_text(), "<!-- matrix -->\n", "<!-- end of the matrix -->\n"
    before, rest = text.split(begin)
    old, after = rest.split(end)
    head, rule, *rows = table(found).splitlines()
    told = {row.split(" ")[1]: row for row in [*old.splitlines()[2:], *rows]}
    _DOCS.write_text(
        "\n".join([f"{before}{begin}{head}", rule, *(told[name] for name in sorted(told)), f"{end}{after}"])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="auto")
    parser.add_argument("--only", default="", help="entries whose name has this text")
    parser.add_argument("--all", action="store_true", help="print the cells that agree or are refused, too")
    parser.add_argument("--write", action="store_true", help="keep the refusals, and the table in the documentation")
    given = parser.parse_args()
    tier = tiers.choose(given.tier)
    print(f"tier {tier.name}, TensorRT {tier.tensorrt}, {tier.gpu or 'no GPU'}")
    if given.write and tier.name != "twin":
        parser.error("--write is for the twin")
    rows = {entry.types[0] for entry in ENTRIES.values() if given.only in entry.name}
    wanted = [
        entry for entry in ENTRIES.values() if (entry.types[0] in rows if given.write else given.only in entry.name)
    ]
    found = []
    for cell in cells(tier, wanted):
        found.append(cell)
        if given.all or cell.outcome not in ("agrees", "refused"):
            print(f"{cell.entry.name:50} {cell.dtype:6} {cell.form:8} {cell.outcome:8} {cell.says}", flush=True)
    counts = Counter(cell.outcome for cell in found)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    if given.write:
        write(found)


if __name__ == "__main__":
    main()
