"""How each kind of step is drawn, with operands and attributes for which its result is well-conditioned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.conformance.random_drawer import FLOATS, INTEGER_UNARY, INTEGERS, Drawer, Network, NotKept
from tests.conformance.random_steps import ACTIVATIONS, REDUCE, UNARY

_DRAW: dict[str, Callable[[Drawer], Any]] = {}


def _drawn(function: Callable[[Drawer], Any]) -> Callable[[Drawer], Any]:
    _DRAW[function.__name__.lstrip("_")] = function
    return function


@_drawn
def _activation(d: Drawer) -> None:
    x, kind = d.pick(*FLOATS), d.choice(ACTIVATIONS)
    alpha, beta = {"CLIP": (-0.8, 1.1), "HARD_SIGMOID": (0.3, 0.4)}.get(kind, (0.75, 1.25))
    d.add("activation", [x], d.tensors[x].dtype, kind=kind, alpha=alpha, beta=beta)


@_drawn
def _unary(d: Drawer) -> None:
    kind = d.choice(tuple(UNARY))
    integers = INTEGERS if kind in ("ABS", "NEG") and INTEGER_UNARY not in d.lacking else ()
    x = d.pick("BOOL") if kind == "NOT" else d.pick(*FLOATS, *integers)
    values = d.tensors[x].values
    if (kind in ("LOG", "SQRT") and values.min() < 0.25) or (kind == "RECIP" and np.abs(values).min() < 0.25):
        raise NotKept
    if kind in ("FLOOR", "CEIL", "ROUND"):
        d.clear_of(
            x, np.abs(values - np.rint(values - (0.5 if kind == "ROUND" else 0)) - (0.5 if kind == "ROUND" else 0))
        )
    d.add("unary", [x], d.tensors[x].dtype, kind=kind)


@_drawn
def _arithmetic(d: Drawer) -> None:
    kind = d.choice(("SUM", "SUB", "PROD", "MAX", "MIN", "DIV"))
    x = d.pick(*FLOATS, *(() if kind == "DIV" else INTEGERS))
    y = d.second(x, 0.5) if kind == "DIV" else d.second(x)
    if kind == "DIV" and np.abs(d.tensors[y].values).min() < 0.25:
        raise NotKept
    d.add("elementwise", [x, y], d.tensors[x].dtype, kind=kind)


@_drawn
def _comparison(d: Drawer) -> None:
    kind = d.choice(("EQUAL", "GREATER", "LESS"))
    x = d.pick(*(INTEGERS if kind == "EQUAL" else FLOATS + INTEGERS))
    y = d.second(x)
    distances = np.abs(d.tensors[x].values.astype(float) - d.tensors[y].values)
    for number in (x, y):
        d.clear_of(number, distances)
    d.add("elementwise", [x, y], "BOOL", kind=kind)


@_drawn
def _logic(d: Drawer) -> None:
    x = d.pick("BOOL")
    d.add("elementwise", [x, d.second(x)], "BOOL", kind=d.choice(("AND", "OR", "XOR")))


@_drawn
def _select(d: Drawer) -> None:
    condition = d.pick("BOOL")
    asked = d.tensors[condition]
    same = [
        n for n, t in enumerate(d.tensors)
        if t.values.shape == asked.values.shape and t.free == asked.free and t.dtype != "BOOL"
    ]  # fmt: skip
    x = d.choice(same)
    d.add("select", [condition, x, d.second(x)], d.tensors[x].dtype)


@_drawn
def _cast(d: Drawer) -> None:
    x = d.pick(*FLOATS, *INTEGERS, "BOOL")
    t = d.tensors[x]
    to = d.choice([to for to in (*FLOATS, *FLOATS, *INTEGERS) if to != t.dtype and to not in d.lacking])
    if to in INTEGERS:
        d.clear_of(x, np.abs(t.values - np.rint(t.values)) if t.dtype in FLOATS else np.ones(0))
    d.add("cast", [x], to, to=to)


@_drawn
def _identity(d: Drawer) -> None:
    x = d.pick(*FLOATS, *INTEGERS)
    d.add("identity", [x], d.tensors[x].dtype)


@_drawn
def _reduce(d: Drawer) -> None:
    kind = d.choice(tuple(REDUCE))
    x = d.pick(*FLOATS, *(() if kind == "AVG" else INTEGERS), least=2)
    axes = sorted({d.axis(x) for _ in range(d.rng.integers(1, 3))})
    keep = bool(d.rng.integers(2)) or len(axes) == d.tensors[x].values.ndim
    d.add("reduce", [x], d.tensors[x].dtype, kind=kind, axes=axes, keep=keep)


@_drawn
def _softmax(d: Drawer) -> None:
    x = d.pick(*FLOATS, least=2)
    d.add("softmax", [x], d.tensors[x].dtype, axis=d.axis(x, sized=2))


@_drawn
def _cumulative(d: Drawer) -> None:
    x = d.pick(*FLOATS, *INTEGERS)
    exclusive, reverse = bool(d.rng.integers(2)), bool(d.rng.integers(2))
    d.add("cumulative", [x], d.tensors[x].dtype, axis=d.axis(x, sized=2), exclusive=exclusive, reverse=reverse)


@_drawn
def _normalization(d: Drawer) -> None:
    x = d.pick(*FLOATS, least=2)
    t = d.tensors[x]
    axes = list(range(int(d.rng.integers(1, t.values.ndim)), t.values.ndim))
    if np.var(t.values, axis=tuple(axes)).min() < 0.05:
        raise NotKept
    shape = tuple(size if a in axes else 1 for a, size in enumerate(t.values.shape))
    scale, bias = d.values(t.dtype, shape, 0.5), d.values(t.dtype, shape)
    d.add("normalization", [x], t.dtype, axes=axes, scale=scale, bias=bias, epsilon=1e-3)


@_drawn
def _product(d: Drawer) -> None:
    x = d.pick(*FLOATS, least=2)
    t, transposed, columns = d.tensors[x], bool(d.rng.integers(2)), int(d.rng.integers(2, 6))
    inner = t.values.shape[-1]
    shape = (*(1,) * (t.values.ndim - 2), *((columns, inner) if transposed else (inner, columns)))
    y = d.constant(t.dtype, d.values(t.dtype, shape, -1, 1))
    d.add("product", [x, y], t.dtype, transposed=transposed)


@_drawn
def _convolution(d: Drawer) -> None:
    x = d.pick(*FLOATS, rank=4)
    t = d.tensors[x]
    channels = t.values.shape[1]
    groups = channels if d.rng.random() < 0.3 else 1
    size, pad, stride = int(d.choice((1, 2, 3))), int(d.rng.integers(2)), int(d.choice((1, 2)))
    if min(t.values.shape[2:]) + 2 * pad < size:
        raise NotKept
    maps = groups * int(d.rng.integers(1, 4))
    kernel = d.values(t.dtype, (maps, channels // groups, size, size), -0.5, 0.5)
    bias = d.values(t.dtype, (maps,))
    d.add("convolution", [x], t.dtype, kernel=kernel, bias=bias, stride=stride, padding=pad, groups=groups)


@_drawn
def _pooling(d: Drawer) -> None:
    x = d.pick(*FLOATS, rank=4)
    if min(d.tensors[x].values.shape[2:]) < 2:
        raise NotKept
    d.add("pooling", [x], d.tensors[x].dtype, kind=d.choice(("MAX", "AVERAGE")), window=2, stride=int(d.choice((1, 2))))


@_drawn
def _resize(d: Drawer) -> None:
    x = d.pick(*FLOATS, least=3)
    d.add("resize", [x], d.tensors[x].dtype)


@_drawn
def _padding(d: Drawer) -> None:
    x = d.pick(*FLOATS, rank=4)
    pre, post = ([int(n) for n in d.rng.integers(0, 2, 2)] for _ in range(2))
    d.add("padding", [x], d.tensors[x].dtype, pre=pre, post=post)


@_drawn
def _shuffle(d: Drawer) -> None:
    x = d.pick(*FLOATS, *INTEGERS, "BOOL", least=2)
    t = d.tensors[x]
    kept = int(t.free)
    first = [*range(kept), *(kept + int(n) for n in d.rng.permutation(t.values.ndim - kept))]
    sizes = [t.values.shape[a] for a in first]
    dims = [0 if d.rng.random() < 0.5 or (t.free and a == 0) else size for a, size in enumerate(sizes)]
    if len(dims) > kept + 1 and d.rng.random() < 0.5:  # the last two as one
        dims = [*dims[:-2], -1]
    second = [*range(kept), *(kept + int(n) for n in d.rng.permutation(len(dims) - kept))]
    d.add("shuffle", [x], t.dtype, first=first, dims=dims, second=second)


@_drawn
def _slice(d: Drawer) -> None:
    x = d.pick(*FLOATS, *INTEGERS)
    axis = d.axis(x, sized=2)
    length = d.tensors[x].values.shape[axis]
    stride = int(d.choice((1, 2, -1)))
    size = int(d.rng.integers(1, length // abs(stride) + 1))
    start = length - 1 if stride < 0 else int(d.rng.integers(0, length - (size - 1) * stride))
    d.add("slice", [x], d.tensors[x].dtype, axis=axis, start=start, size=size, stride=stride)


@_drawn
def _concatenation(d: Drawer) -> None:
    x = d.pick(*FLOATS, *INTEGERS)
    t, axis = d.tensors[x], d.axis(x)
    fitting = [
        n for n, other in enumerate(d.tensors)
        if (other.dtype, other.free, other.values.ndim) == (t.dtype, t.free, t.values.ndim)
        and np.delete(other.values.shape, axis).tolist() == np.delete(t.values.shape, axis).tolist()
    ]  # fmt: skip
    d.add("concatenation", [x, *(int(d.choice(fitting)) for _ in range(d.rng.integers(1, 3)))], t.dtype, axis=axis)


@_drawn
def _gather(d: Drawer) -> None:
    x = d.pick(*FLOATS, *INTEGERS)
    axis = d.axis(x)
    places = d.rng.integers(0, d.tensors[x].values.shape[axis], d.rng.integers(1, 5))
    d.add("gather", [x], d.tensors[x].dtype, axis=axis, places=places)


@_drawn
def _topk(d: Drawer) -> None:
    x = d.pick(*FLOATS, least=2)
    t, axis = d.tensors[x], d.axis(x, sized=2)
    d.clear_of(x, np.diff(np.sort(t.values, axis=axis), axis=axis))
    k, indices = int(d.rng.integers(1, t.values.shape[axis] + 1)), bool(d.rng.integers(2))
    kind = d.choice(("MAX", "MIN"))
    d.add("topk", [x], "INT32" if indices else t.dtype, kind=kind, axis=axis, k=k, indices=indices)


@_drawn
def _one_hot(d: Drawer) -> None:
    x = d.pick("INT32")
    t = d.tensors[x]
    if t.values.min() < 0 or t.values.max() > 5:
        raise NotKept
    dtype = d.choice(FLOATS)
    d.add("one_hot", [x], dtype, depth=6)


@_drawn
def _quantized(d: Drawer) -> None:
    x = d.pick(*FLOATS)
    t, scale = d.tensors[x], 0.25
    steps = t.values / scale
    d.clear_of(x, np.abs(steps - np.floor(steps) - 0.5) * scale)
    d.add("quantized", [x], t.dtype, scale=scale)


@_drawn
def _unsqueeze(d: Drawer) -> None:
    x = d.pick(*FLOATS, *INTEGERS)
    t = d.tensors[x]
    d.add("unsqueeze", [x], t.dtype, axis=int(d.rng.integers(int(t.free), t.values.ndim + 1)))


@_drawn
def _shape(d: Drawer) -> None:
    d.add("shape", [d.pick(*FLOATS)], "INT64")


def draw(seed: int, lacking: frozenset[str] = frozenset()) -> Network:
    """The network of a seed. ``lacking``: names of steps and types that the TensorRT at hand does not have."""
    return Drawer(seed, lacking, _DRAW).drawn()
