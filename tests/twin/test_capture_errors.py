"""The errors that a capture gives on the twin are those of the list that a GPU can be asked about as well."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.twin.harness import Twin


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "programs"))
    import capture_errors

    sys.modules.pop("capture_errors")  # it holds the real package here, and nobody else's
    return capture_errors.EXPECTED


def test_each_call_answers_as_the_list_says(twin: Twin, expected: dict[str, list[str]]) -> None:
    outcome = twin("from capture_errors import outcomes\nreturn outcomes()", prelude="")
    assert not outcome.type, outcome.trace
    assert {name: said for name, said in outcome.value.items() if said != expected[name]} == {}
    assert outcome.value.keys() == expected.keys()
