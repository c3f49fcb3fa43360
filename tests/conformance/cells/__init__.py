"""The entries of the matrix, a file per family of layers."""

from .entry import DTYPES, ENTRIES, FORMS, Entry

__all__ = ["DTYPES", "ENTRIES", "FORMS", "Entry"]

from . import (  # noqa: F401 (they register)
    attention,
    control,
    elements,
    indexing,
    linear,
    made,
    quantization,
    reductions,
    shapes,
    windows,
)
