"""Python source as tokens in which a copier's changes do not show. Runs in the reader's process.

Comments, docstrings and layout are left out; a variable, function or class is just a name, a string just a string. What
follows a dot keeps its name: it is TensorRT's or another library's, and nobody can rename it.
"""

from __future__ import annotations

import zlib

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Literal, Name, Number, String, Text

MOST_TOKENS = 20_000  #: of one file; the longest solution has 6,500
NAME, STRING, NUMBER = "name", "string", "number"
_VERBATIM = (Name.Builtin, Name.Exception, Name.Namespace, Name.Decorator)


class TooLong(ValueError):  # noqa: N818 (it reads as what happened)
    """More tokens than are compared."""


def tokens(text: str) -> tuple[list[int], list[int]]:
    """A code point for each token, the same for the same token, and the token's line, from 1. Raises TooLong."""
    code: list[int] = []
    lines: list[int] = []
    line, done, before = 1, 0, ""
    for start, kind, value in PythonLexer().get_tokens_unprocessed(text):
        line, done = line + text.count("\n", done, start), start
        word = _word(kind, value, before)
        if not word or word == STRING == before:  # the quotes and pieces of one string are one token
            continue
        if len(code) == MOST_TOKENS:
            raise TooLong
        code.append(_code_point(word))
        lines.append(line)
        before = word
    return code, lines


def _word(kind: object, value: str, before: str) -> str:
    if kind in Text or kind in Comment or kind in String.Doc:
        return ""
    if kind in Name:
        kept = before == "." or any(kind in verbatim for verbatim in _VERBATIM)
        return f"={value}" if kept else NAME
    if kind in Number:
        return NUMBER
    return STRING if kind in Literal else value


def _code_point(word: str) -> int:
    """One in planes 1 to 14: one of a thousand words seldom shares another's."""
    return 0x10000 + zlib.crc32(word.encode("utf-8", "surrogatepass")) % 0xE0000
