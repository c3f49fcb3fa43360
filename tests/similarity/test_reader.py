"""The process that reads submissions' texts survives them, or is replaced, and says why a file is not compared."""

from __future__ import annotations

import pytest

from grader.similarity.reader import MOST_BYTES, NotCompared, Reader

#: Pygments looks for the end of each name behind ``\N{`` up to the end of the text, which takes longer than 10 s here.
HANGS = b"'" + b"\\N{" * 80_000
DEEP = b"[" * 9_000 + b"]" * 9_000


def test_a_text_that_a_lexer_hangs_on_is_given_up_and_the_next_is_read() -> None:
    with Reader(seconds=2) as reader:
        with pytest.raises(NotCompared, match="was not done after 2 s"):
            reader.read(HANGS)
        assert len(reader.read(b"a = 1\n").code) == 3


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"(" * 1_000_000, "larger than 256 KiB"),
        (b"(" * MOST_BYTES, "more than 20,000 tokens"),
        (b"a = '\xff\xfe'", "not UTF-8 text"),
    ],
)
def test_what_cannot_be_compared_says_why_in_one_line(data: bytes, why: str) -> None:
    with Reader() as reader, pytest.raises(NotCompared) as error:
        reader.read(data)
    assert str(error.value) == why


@pytest.mark.parametrize(
    "data", [b"", b"\0\x1b[2J", DEEP, b"x" * MOST_BYTES, b'"' * 1001, b"\\" * 9999, "a = 'ü€😀\u2028'".encode()]
)
def test_odd_texts_are_read(data: bytes) -> None:
    with Reader() as reader:
        found = reader.read(data)
    assert len(found.code) == len(found.lines)
    assert all(1 <= line <= len(found.text) for line in found.lines)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = 'b'", 'a = """b\\n{c}\nd"""'),
        ("def f():\n    return 1", 'def f():\n    """Docstring."""  # comment\n    return  1\n'),
        ("a = 1", "\ufeffa = 1"),
        ("first = second(1.5)", "one = two(0x7)"),
    ],
)
def test_what_a_copier_changes_is_not_seen(one: str, other: str) -> None:
    with Reader() as reader:
        assert reader.read(one.encode()).code == reader.read(other.encode()).code
