"""`cuda.bindings` over the twin: its `runtime`, and nothing else of it."""

__version__ = "13.0.3+twin"
