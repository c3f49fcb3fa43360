"""What all functions of `cuda.bindings.runtime` share: how they take arguments, and how they answer."""

from __future__ import annotations

import functools
import operator
import sys
import threading
from collections.abc import Callable
from typing import Any

from trtprep_worker.device_link import Error, connect

from ._driver_numbers import CUresult
from ._numbers import cudaError_t, cudaStreamLegacy, cudaStreamPerThread

Code = cudaError_t | CUresult
_Function = Callable[..., tuple[Any, ...]]
last = threading.local()  #: its ``error`` is the last one of this thread


class Answer(Error):  # noqa: N818 (it is none to whoever asked)
    """An error that is an answer, and no mistake."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self._code = code


def command(outputs: int = 0, kind: type[Code] = cudaError_t) -> Callable[[_Function], _Function]:
    """Turns results into a tuple that begins with success, 0, and an error into its number and so many Nones."""

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
            try:
                return (kind(0), *function(*args, **kwargs))
            except Error as error:
                if not isinstance(error, Answer):
                    print(f"{function.__name__}: {error}", file=sys.stderr)
                if kind is cudaError_t:  # the driver API keeps none
                    last.error = cudaError_t(error._code)
                return (kind(error._code), *[None] * outputs)

        return run

    return decorate


def cuda(name: str, *args: Any) -> Any:
    return connect().cuda(name, *args, runtime=True)


def size_of(value: Any) -> int:
    size = operator.index(value)
    if size < 0:
        raise OverflowError("can't convert negative value to size_t")
    return size


def handle_of(value: Any) -> int:
    return 0 if value is None else operator.index(value)


def stream_of(value: Any) -> int:
    handle = handle_of(value)
    if handle == cudaStreamPerThread:
        raise NotImplementedError("the twin has no per-thread default stream: make a stream")
    return 0 if handle == cudaStreamLegacy else handle
