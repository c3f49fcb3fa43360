"""What Boost.Python, which PyCUDA is bound with, does with arguments, classes and enumerations.

Where C++ wants an integer it takes Python's own (and bool, which is one), and no NumPy integer; where C++ wants a
device pointer, that or a DeviceAllocation.  Arguments without a name in the signature are given by position only.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_BITS = {"unsigned char": 8, "unsigned short": 16, "unsigned int": 32, "unsigned long": 64}
_POINTER, _INT = "unsigned long long", "int"
_PARAMETER = re.compile(
    rf"(?P<type>{_POINTER}|{'|'.join(_BITS)}|{_INT}|bool|object|[\w:]+(?: {{lvalue}})?)"
    r"(?: (?P<name>\w+))?(?:=(?P<default>\S+))?"
)
_DEFAULTS: dict[str, Any] = {"None": None, "'C'": "C"}
_MISSING = object()
#: By the name that C++ has for them.
_CLASSES: dict[str, type] = {"std::string": str}


class ArgumentError(TypeError):
    """No C++ signature takes these arguments."""


ArgumentError.__module__ = "Boost.Python"


def exposed(cpp_name: str) -> Callable[[type], type]:
    """A class that signatures name ``cpp_name``."""

    def note(cls: type) -> type:
        _CLASSES[cpp_name] = cls
        cls.__module__ = "pycuda._driver"
        if not issubclass(cls, int):
            cls.__reduce__ = _refuse_copies  # type: ignore[method-assign]
        return cls

    return note


def _refuse_copies(self: object) -> Any:
    """For `copy` and `pickle`: two objects that own one thing would free it twice."""
    kind = type(self)
    raise RuntimeError(f'Pickling of "{kind.__module__}.{kind.__name__}" instances is not enabled')


class NotInstantiable:
    """A class that only C++ makes objects of."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise RuntimeError("This class cannot be instantiated from Python")


# -- signatures


class _Overload:
    def __init__(self, signature: str) -> None:
        self.text = signature
        inner = signature[signature.index("(") + 1 : -1]
        found = [_PARAMETER.fullmatch(part) for part in inner.split(", ")] if inner else []
        self.parameters = [(m["type"], m["name"], _default(m["default"])) for m in found if m is not None]
        assert len(self.parameters) == len(found), signature

    def bind(self, args: tuple[Any, ...], named: dict[str, Any]) -> list[tuple[str, Any]] | None:
        """(C++ type, value) of every argument; None where this signature does not take them."""
        if len(args) > len(self.parameters):
            return None
        left, bound = dict(named), []
        for position, (kind, name, default) in enumerate(self.parameters):
            by_name = left.pop(name, default) if name and position >= len(args) else default
            value = args[position] if position < len(args) else by_name
            if value is _MISSING or not _convertible(value, kind):
                return None
            bound.append((kind, value))
        return None if left else bound


def _default(text: str | None) -> Any:
    if text is None:
        return _MISSING
    return _DEFAULTS[text] if text in _DEFAULTS else int(text)


def _convertible(value: Any, kind: str) -> bool:
    if kind == "object":
        return True
    if kind == "bool":
        return value is None or isinstance(value, int)
    if kind == _POINTER:
        return isinstance(value, (int, _CLASSES["pycuda::device_allocation"]))
    if kind in _BITS or kind == _INT:
        return isinstance(value, int)
    return isinstance(value, _CLASSES[kind.removesuffix(" {lvalue}")])


def _convert(value: Any, kind: str) -> Any:
    """Raises OverflowError for what the C++ type does not hold."""
    if kind == "bool":
        return bool(value)
    if kind in _BITS:
        if value < 0:
            raise OverflowError("can't convert negative value to unsigned int")
        if value >= 1 << 64:
            raise OverflowError("Python int too large to convert to C unsigned long")
        if value >= 1 << _BITS[kind]:
            raise OverflowError("bad numeric conversion: positive overflow")
        return int(value)
    if kind == _POINTER:
        number = value.__int__()
        if number < 0:
            raise OverflowError("can't convert negative int to unsigned")
        if number >= 1 << 64:
            raise OverflowError("int too big to convert")
        return number
    if kind == _INT:
        if not -(1 << 31) <= value < 1 << 31:
            raise OverflowError("bad numeric conversion: positive overflow")
        return int(value)
    return value


def from_cpp(*signatures: str, name: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A function that C++ declares so: of several signatures the first that takes the arguments is called.

    The decorated function gets all of them by position, as C++ converts them, and ``name`` is what errors call it.
    """
    overloads = [_Overload(signature) for signature in signatures]
    called = name or f"pycuda._driver.{signatures[0].partition('(')[0]}"

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            for overload in overloads:
                bound = overload.bind(args, named)
                if bound is not None:
                    return function(*(_convert(value, kind) for kind, value in bound))
            raise ArgumentError(_refusal(called, [o.text for o in overloads], args, named))

        call.signatures = signatures  # type: ignore[attr-defined]
        return call

    return decorate


def _refusal(called: str, signatures: list[str], args: tuple[Any, ...], named: dict[str, Any]) -> str:
    types = ", ".join(_type_name(value) for value in args)
    text = f"Python argument types in\n    {called}({types})\ndid not match C++ signature:\n    " + "\n    ".join(
        signatures
    )
    if named:
        text += f"\n(by name: {', '.join(f'{key}={_type_name(value)}' for key, value in named.items())})"
    values = [*args, *named.values()]
    for value in values:
        if isinstance(value, (float, np.generic)) or (isinstance(value, np.ndarray) and not value.shape):
            return f"{text}\nPyCUDA takes only Python's own integers: write int(...) of the {_type_name(value)}"
        if hasattr(value, "gpudata"):
            return f"{text}\nA GPUArray is no address: its .gpudata is"
    return text


def _type_name(value: Any) -> str:
    kind = type(value)
    return f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__


def need_long(value: Any) -> int:
    """An element of a sequence of C++'s ``long``."""
    if not isinstance(value, int):
        raise TypeError(
            "No registered converter was able to produce a C++ rvalue of type long from this Python object of type "
            f"{_type_name(value)} (write int(...))"
        )
    return int(value)


def need(value: Any, cpp_name: str) -> Any:
    """``value``, which C++ takes for a reference to that class. Raises TypeError."""
    if not isinstance(value, _CLASSES[cpp_name]):
        raise TypeError(
            f"No registered converter was able to extract a C++ reference to type {cpp_name} from this Python object "
            f"of type {_type_name(value)}"
        )
    return value


# -- enumerations


class _Enum(int):
    """An integer with a name. Members are found by attribute only; ``a | b`` is a plain int."""

    names: dict[str, Any]
    values: dict[int, Any]
    _name: str | None = None

    @property
    def name(self) -> str:
        if self._name is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'name'")
        return self._name

    def __repr__(self) -> str:
        kind = f"pycuda._driver.{type(self).__name__}"
        return f"{kind}({int(self)})" if self._name is None else f"{kind}.{self._name}"

    def __str__(self) -> str:
        return self._name or repr(self)


def enumeration(name: str, members: dict[str, int], cpp_name: str = "") -> Any:
    made: Any = type(name, (_Enum,), {"names": {}, "values": {}})
    for member, value in members.items():
        made.names[member] = made.values[value] = made(value)
        made.values[value]._name = member
        setattr(made, member, made.names[member])
    return exposed(cpp_name)(made) if cpp_name else made
