"""`cuda.bindings.runtime` over the twin: memory, streams, events, stream capture and graphs.

As in the real package, every function returns a tuple that begins with a `cudaError_t`; where it is
not cudaSuccess, None stands for each result.  What the device names as a mistake is also written to
standard error, because the number alone does not say what was wrong.
"""

from __future__ import annotations

from typing import Any

from . import _devices, _graphs, _memory, _numbers, _streams, _types

__all__ = []
for _module in (_devices, _graphs, _memory, _numbers, _streams, _types):
    _names = [_name for _name in vars(_module) if _name.startswith(("cuda", "CUDART")) and _name != "cuda"]
    globals().update({_name: getattr(_module, _name) for _name in _names})
    __all__ += _names


def __getattr__(name: str) -> Any:
    raise AttributeError(f"the twin's cuda.bindings.runtime has no {name!r}: docs/twin.md says what it has")
