"""Names of people as names of files, and names of files as text."""

from __future__ import annotations

import hashlib
import re

_MOST = 60
_UNSAFE = re.compile("[^A-Za-z0-9_-]+")
#: What a name looks like that was changed: one that looks so by itself is changed too, or two people could share one.
_CHANGED = re.compile("-[0-9a-f]{8}$")


def safe_name(person: str) -> str:
    """A name for a person's files, the same each time: at most 60 ASCII letters, digits, ``-`` and ``_``.

    Where that is not the name itself, ``-`` and 8 hexadecimal digits of its hash follow.
    """
    name = _UNSAFE.sub("_", person)[:_MOST].lstrip("-")
    if name and name == person and not _CHANGED.search(name):
        return name
    code = hashlib.sha256(person.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name or 'person'}-{code}"


def file_text(name: str) -> str:
    """A file's name as text that every encoding of Unicode can write: bytes that are in none become escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
