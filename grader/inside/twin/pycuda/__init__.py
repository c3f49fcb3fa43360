"""``import pycuda`` on a machine without a GPU: PyCUDA's names over the twin."""

VERSION = (2026, 1)
VERSION_TEXT = "2026.1+twin"
