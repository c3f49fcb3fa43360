"""Every cell of the matrix agrees, or the builder refuses it as it did, or it is named as left out."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_rtx as trt

from grader import tiers
from tests.conformance import matrix
from tests.conformance.cells import ENTRIES, Entry
from tests.conformance.cells.entry import X, bfloat16
from tests.conformance.matrix import Cell

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

_HERE = Path(__file__).parent
_DOCS = _HERE.parents[1] / "docs"
_LEFT_OUT: list[dict[str, Any]] = tomllib.loads((_HERE / "matrix_left_out.toml").read_text())["left_out"]
_ROWS = sorted({entry.types[0] for entry in ENTRIES.values()})
#: Few cells, and both kinds of outcome.
_FAST = ("SOFTMAX", "SQUEEZE", "IDENTITY")


def _of(row: str) -> list[Entry]:
    return [entry for entry in ENTRIES.values() if entry.types[0] == row]


def _why_left_out(cell: Cell) -> dict[str, Any] | None:
    for told in _LEFT_OUT:
        meant = fnmatchcase(cell.entry.name, told["entry"].replace("[", "[[]"))
        if meant and cell.dtype in told.get("dtypes", [cell.dtype]) and cell.form in told.get("forms", [cell.form]):
            return told
    return None


@pytest.mark.parametrize("row", [pytest.param(r, marks=[] if r in _FAST else [pytest.mark.slow]) for r in _ROWS])
def test_each_cell_agrees_or_is_refused_or_is_named(row: str) -> None:
    found = list(matrix.cells(tiers.choose("twin"), _of(row)))
    wrong, used = [], []
    for cell in found:
        told = _why_left_out(cell)
        allowed = told is not None and cell.outcome in ("left out", "FAILS" if told.get("late") else "left out")
        if allowed:
            used.append(told["entry"])
        elif cell.outcome not in ("agrees", "refused"):
            wrong.append((*cell.key, cell.outcome, cell.says))
    assert wrong == []
    named = {told["entry"] for told in _LEFT_OUT if any(fnmatchcase(e.name, told["entry"]) for e in _of(row))}
    assert set(used) == named, "the twin has what matrix_left_out.toml says that it lacks: take the entry out"
    kept = (_HERE / "matrix_refused.tsv").read_text().splitlines()
    names = {entry.name for entry in _of(row)}
    stale = "run `python -m tests.conformance.matrix --write` and read what changed"
    assert matrix.refusals(found).splitlines() == [line for line in kept if line.split("\t")[0] in names], stale
    assert matrix.table(found).splitlines()[-1] in (_DOCS / "conformance.md").read_text().splitlines(), stale


def test_every_layer_type_has_an_entry() -> None:
    shown = {name for entry in ENTRIES.values() for name in entry.types}
    plugins = {"PLUGIN", "PLUGIN_V2", "PLUGIN_V3"}  # code of their authors, which the twin does not load
    assert shown | plugins == set(trt.LayerType.__members__)


def test_what_is_left_out_stands_in_the_documentation() -> None:
    text = " ".join((_DOCS / "twin.md").read_text().split())
    assert [told["docs"] for told in _LEFT_OUT if told["docs"] not in text] == []
    unused = [t["entry"] for t in _LEFT_OUT if not any(fnmatchcase(name, t["entry"]) for name in ENTRIES)]
    assert unused == []


def test_a_wrong_expectation_differs() -> None:
    """So that a cell that agrees was compared: each entry's first cell is expected off by one part in ten."""
    entry = ENTRIES["SOFTMAX"]
    off = replace(entry, expect=lambda x: entry.expect(x) * 1.1, dtypes=("FLOAT", "HALF"))
    assert {cell.outcome for cell in matrix.cells(tiers.choose("twin"), [off]) if cell.form == "static"} == {"DIFFERS"}


@pytest.mark.parametrize(
    ("got", "want", "says"),
    [
        (np.float32([1, 2]), np.array([1.0, 2.0]), ""),
        (np.float32([1, 2.001]), np.array([1.0, 2.0]), "error"),
        (np.float16([1, 2.001]), np.array([1.0, 2.0]), ""),
        (np.float16([1, 2.1]), np.array([1.0, 2.0]), "error"),
        (np.float32([[1, 2]]), np.array([1.0, 2.0]), "shape"),
        (np.int32([1, 2]), np.array([1.0, 2.0]), "kind"),
        (np.int32([1, 3]), np.array([1, 2]), "not"),
        (np.bool_([True]), np.array([1]), "kind"),
        (np.float32([np.nan, 1]), np.array([np.nan, 1.0]), ""),
        (np.float32([0, 1]), np.array([np.nan, 1.0]), "not"),
        (np.float32([np.inf, 1]), np.array([2.0, 1.0]), "error"),
        (np.float32([0.5]), np.array([0.0]), "error"),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3)), ""),
        (np.zeros((0, 3), np.float32), np.zeros((3, 0)), "shape"),
    ],
)
def test_outputs_are_held_to_shape_kind_and_value(got: np.ndarray, want: np.ndarray, says: str) -> None:
    told = matrix._difference("HALF" if got.dtype == np.float16 else "FLOAT", got, want)
    assert bool(told) == bool(says) and says in told


@pytest.mark.parametrize("dtype", ["FLOAT", "HALF", "BF16", "INT8", "INT32", "INT64", "BOOL", "UINT8"])
def test_inputs_have_what_their_type_holds(dtype: str) -> None:
    rng = np.random.default_rng(0)
    full, none = (X((4, 3)).drawn(dtype, form, rng) for form in ("static", "empty"))
    assert full.shape == (4, 3) and none.shape == (0, 3)
    assert len(np.unique(full)) > 1
    assert X((4, 3), free=None).drawn(dtype, "emptied", rng).shape == (4, 3)


def test_bfloat16_rounds_halves_to_even() -> None:
    ulp = 2.0**-7
    values = np.array([1 + ulp / 2, 1 + 3 * ulp / 2, 1 + 0.51 * ulp, -(1 + ulp / 2), 3e38, 0], np.float32)
    expected = [1, 1 + 2 * ulp, 1 + ulp, -1, 3.0039e38, 0]
    assert np.allclose(bfloat16(values), expected, rtol=1e-4) and bfloat16(values)[:4].tolist() == expected[:4]


def test_the_table_shows_agreement_and_what_is_left_out() -> None:
    entry = replace(ENTRIES["SOFTMAX"])
    outcomes = {"static": "agrees", "dynamic": "left out", "empty": "refused", "emptied": "FAILS"}
    found = [Cell(entry, "HALF", form, outcome, "why") for form, outcome in outcomes.items()]
    assert re.search(r"\| SOFTMAX \| - \| s \(d\) \*\*z\*\* \|", matrix.table(found))
    assert matrix.refusals(found) == "SOFTMAX\tHALF:e\twhy\n"
