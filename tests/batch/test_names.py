"""Names of people as names of files."""

from __future__ import annotations

import re

import pytest

from grader.batch.submissions import safe_name


@pytest.mark.parametrize("name", ["alice", "Bob_Smith-2", "a" * 60])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../../etc", "/etc/passwd", "José", "a b", "-rf", "=1+1", "<b>x</b>", "a\0b", "a\nb", "a" * 61,
     "名前", "\udce9", "con.txt"],
)  # fmt: skip
def test_another_becomes_letters_and_a_hash(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch("[A-Za-z0-9_][A-Za-z0-9_-]{0,59}-[0-9a-f]{8}", safe)
    assert safe == safe_name(name)


def test_nobody_can_take_the_files_of_another() -> None:
    """A person who is called what another's changed name is gets a changed name too."""
    theirs = safe_name("josé")
    assert safe_name(theirs) != theirs
    assert len({safe_name(name) for name in ("a b", "a_b", "a/b", "a\tb", "A b", theirs)}) == 6
