"""Loop, Scan, If, LSTM, GRU and RNN as TensorRT's parser makes networks of them, against NumPy by ONNX's text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from grader.twin.executor import Executor
from grader.twin.shapes import ShapeRules
from grader.twin.walk import layer_infos, walk
from tests.twin.networks import agree, build, execute, parse

F, INT64, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
RANDOM = np.random.default_rng(9)
info, node = helper.make_tensor_value_info, helper.make_node


def floats(*shape: int) -> np.ndarray:
    return (RANDOM.standard_normal(shape) / 2).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    outputs: dict[str, int],
    weights: dict[str, np.ndarray],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "model",
        [info(name, *kind) for name, kind in inputs.items()],
        [info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


def answers(written: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the twin gives; the shapes that it tells beforehand are those of the results."""
    network = parse(written)
    build(network, inputs)
    results = execute(network, inputs)
    walked = walk(network)
    told = ShapeRules(walked, Executor(walked)).outputs({name: a.shape for name, a in inputs.items()})
    assert told == {name: result.shape for name, result in results.items()}
    return list(results.values())


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(x, w, r, b, state, peep):
    """Gates i, o, f, c; ``state`` is (h, c), ``peep`` the peepholes of i, o, f."""
    h, c = state
    i, o, f, g = np.split(x @ w.T + h @ r.T + b[: len(w)] + b[len(w) :], 4, -1)
    pi, po, pf = np.split(peep, 3)
    i, f = sigmoid(i + pi * c), sigmoid(f + pf * c)
    c = f * c + i * np.tanh(g)
    return sigmoid(o + po * c) * np.tanh(c), c


def gru(x, w, r, b, state, linear_before_reset):
    """Gates z, r, h."""
    (h,) = state
    size = h.shape[-1]
    wx, rh = x @ w.T + b[: 3 * size], h @ r.T + b[3 * size :]
    z, reset = sigmoid(wx[..., :size] + rh[..., :size]), sigmoid((wx + rh)[..., size : 2 * size])
    inner = reset * rh[..., 2 * size :] if linear_before_reset else (reset * h) @ r[2 * size :].T + b[5 * size :]
    return ((1 - z) * np.tanh(wx[..., 2 * size :] + inner) + z * h,)


def rnn(x, w, r, b, state, _):
    (h,) = state
    return (np.tanh(x @ w.T + h @ r.T + b[: len(w)] + b[len(w) :]),)


def recurrent(step, x, w, r, b, states, extra, direction, lengths):
    """Y [length, directions, batch, hidden], and the last states of [directions, batch, hidden]; all float64."""
    x, ways = x.astype(np.float64), {"forward": [1], "reverse": [-1], "bidirectional": [1, -1]}[direction]
    y = np.zeros((len(x), len(ways), x.shape[1], r.shape[-1]))
    ends = [s.astype(np.float64).copy() for s in states]
    for d, way in enumerate(ways):
        more = extra[d] if isinstance(extra, np.ndarray) else extra
        for n in range(x.shape[1]):
            state = tuple(s[d, n] for s in ends)
            for t in range(lengths[n])[::way]:
                state = step(x[t, n], w[d].astype(np.float64), r[d].astype(np.float64), b[d], state, more)
                y[t, d, n] = state[0]
            for end, value in zip(ends, state, strict=True):
                end[d, n] = value
    return [y, *ends]


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEP = {"LSTM": lstm, "GRU": gru, "RNN": rnn}


def check_recurrent(op: str, direction: str, shape: tuple[int, int], full: bool, before: int = 0, **build_with) -> None:
    length, batch = shape
    features, hidden, gates = 3, 4, GATES[op]
    ways = 2 if direction == "bidirectional" else 1
    weights = {"w": floats(ways, gates * hidden, features), "r": floats(ways, gates * hidden, hidden)}
    extras = {"b": floats(ways, 2 * gates * hidden)} if full else {}
    x, inputs = floats(length, batch, features), {"x": (F, ["length", "batch", features])}
    fed = {"x": x}
    names = ["x", "w", "r", "b" if full else ""]
    states = [np.zeros((ways, batch, hidden))] * (2 if op == "LSTM" else 1)
    lengths = [length] * batch
    if full:
        lengths = [max(1, length - 2 * n) for n in range(batch)]
        fed["lengths"], inputs["lengths"] = np.array(lengths, np.int32), (TensorProto.INT32, ["batch"])
        names.append("lengths")
        for place in range(len(states)):
            name = f"state{place}"
            fed[name], inputs[name] = floats(ways, batch, hidden), (F, [ways, "batch", hidden])
            names.append(name)
        states = [fed[f"state{place}"] for place in range(len(states))]
    peep = np.zeros((ways, 3 * hidden))
    if full and op == "LSTM":
        extras["p"] = peep = floats(ways, 3 * hidden)
        names.append("p")
    outputs = ["y", "h", "c"][: 1 + len(states)]
    attributes = {"linear_before_reset": before} if op == "GRU" else {}
    nodes = [node(op, names, outputs, hidden_size=hidden, direction=direction, **attributes)]
    written = model(nodes, inputs, dict.fromkeys(outputs, F), weights | extras)
    b = extras.get("b", np.zeros((ways, 2 * gates * hidden)))
    extra = {"LSTM": peep, "GRU": before, "RNN": 0}[op]
    expected = recurrent(STEP[op], x, weights["w"], weights["r"], b, states, extra, direction, lengths)
    for result, wanted in zip(answers(written, fed), expected, strict=True):
        agree(result, wanted)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_recurrent_cells(op: str, direction: str) -> None:
    check_recurrent(op, direction, (5, 2), full=False)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_recurrent_cells_with_biases_lengths_and_initial_states(op: str, direction: str) -> None:
    check_recurrent(op, direction, (5, 3), full=True)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_gru_that_is_linear_before_its_reset(direction: str) -> None:
    check_recurrent("GRU", direction, (4, 2), full=True, before=1)


@pytest.mark.parametrize("op", GATES)
def test_recurrent_cells_over_no_step(op: str) -> None:
    check_recurrent(op, "forward", (0, 2), full=False)


def test_a_cell_becomes_a_loop() -> None:
    weights = {"w": floats(1, 4, 3), "r": floats(1, 4, 4)}
    written = model([node("RNN", ["x", "w", "r"], ["y"], hidden_size=4)], {"x": (F, [5, 2, 3])}, {"y": F}, weights)
    kinds = {i.type for i in layer_infos(parse(written))}
    assert kinds >= {"TRIP_LIMIT", "ITERATOR", "RECURRENCE", "LOOP_OUTPUT"}


def graph(
    nodes: Sequence[onnx.NodeProto], inputs: dict[str, tuple], outputs: dict[str, tuple], name: str = "body"
) -> onnx.GraphProto:
    return helper.make_graph(
        nodes, name, [info(n, *kind) for n, kind in inputs.items()], [info(n, *kind) for n, kind in outputs.items()]
    )


@pytest.mark.parametrize("trips", [1, 4])
def test_a_loop_with_a_count(trips: int) -> None:
    """A state that grows by the trip's number and by a tensor from outside; its values are collected."""
    body = graph(
        [
            node("Cast", ["i"], ["f"], to=F),
            node("Mul", ["x", "f"], ["scaled"]),
            node("Add", ["s", "scaled"], ["next"]),
            node("Identity", ["next"], ["seen"]),
            node("Identity", ["going"], ["on"]),
        ],
        {"i": (INT64, []), "going": (B, []), "s": (F, [3])},
        {"on": (B, []), "next": (F, [3]), "seen": (F, [3])},
    )
    written = model(
        [node("Loop", ["trips", "true", "start"], ["end", "all"], body=body)],
        {"x": (F, [3]), "start": (F, [3])},
        {"end": F, "all": F},
        {"trips": np.array(trips), "true": np.array(True)},
    )
    x, start = floats(3), floats(3)
    states = [start.astype(np.float64) + x * sum(range(t + 1)) for t in range(trips)]
    end, seen = answers(written, {"x": x, "start": start})
    agree(end, states[-1])
    agree(seen, np.array(states))


@pytest.mark.parametrize(("begin", "trips"), [(1.0, 7), (60.0, 1), (300.0, 0)])
def test_a_loop_that_goes_on_while_a_condition_holds(begin: float, trips: int) -> None:
    body = graph(
        [
            node("Add", ["s", "s"], ["next"]),
            node("ReduceSum", ["next"], ["total"], keepdims=0),
            node("Less", ["total", "limit"], ["on"]),
        ],
        {"i": (INT64, []), "going": (B, []), "s": (F, [2])},
        {"on": (B, []), "next": (F, [2])},
    )
    written = model(
        [
            node("ReduceSum", ["x"], ["first"], keepdims=0),
            node("Less", ["first", "limit"], ["begins"]),
            node("Loop", ["", "begins", "x"], ["y"], body=body),
        ],
        {"x": (F, [2])},
        {"y": F},
        {"limit": np.array(100, np.float32)},
    )
    x = np.array([begin, 0], np.float32)
    (result,) = answers(written, {"x": x})
    agree(result, x * 2.0**trips)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("backwards", [0, 1])
def test_a_scan_over_a_dynamic_length(backwards: int, rows: int) -> None:
    body = graph(
        [node("Add", ["s", "row"], ["next"]), node("Mul", ["next", "row"], ["out"])],
        {"s": (F, [3]), "row": (F, [3])},
        {"next": (F, [3]), "out": (F, [3])},
    )
    scan = node(
        "Scan",
        ["start", "x"],
        ["end", "all"],
        body=body,
        num_scan_inputs=1,
        scan_input_directions=[backwards],
        scan_output_directions=[backwards],
    )
    written = model([scan], {"x": (F, ["rows", 3]), "start": (F, [3])}, {"end": F, "all": F}, {})
    x, start = floats(rows, 3), floats(3)
    state, found = start.astype(np.float64), []
    for row in x[::-1] if backwards else x:
        state = state + row
        found.append(state * row)
    end, seen = answers(written, {"x": x, "start": start})
    agree(end, state)
    agree(seen, np.array(found[::-1] if backwards else found))


@pytest.mark.parametrize("condition", [True, False])
def test_an_if_whose_branches_take_tensors_from_outside(condition: bool) -> None:
    yes = graph([node("Relu", ["x"], ["a"]), node("Add", ["a", "w"], ["yes"])], {}, {"yes": (F, ["n", 3])}, "yes")
    no = graph([node("Mul", ["x", "x"], ["no"])], {}, {"no": (F, ["n", 3])}, "no")
    written = model(
        [node("If", ["c"], ["y"], then_branch=yes, else_branch=no)],
        {"c": (B, []), "x": (F, ["n", 3])},
        {"y": F},
        {"w": floats(3)},
    )
    x = floats(4, 3)
    weight = numpy_helper.to_array(onnx.load_from_string(written).graph.initializer[0])
    (result,) = answers(written, {"c": np.array(condition), "x": x})
    agree(result, np.maximum(x, 0).astype(np.float64) + weight if condition else x.astype(np.float64) ** 2)
