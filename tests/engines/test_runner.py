"""The engine runner on the twin: it builds, inspects and runs plans, and refuses what is none in one sentence."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from grader import tiers
from grader.engines.interface import EngineError, Tensor
from grader.fixtures.private.small_networks import MAX_BATCH, SmallNetwork
from grader.inside.trtprep_worker import wire
from grader.judging.judge import error_of
from grader.processes import runner as module
from grader.processes.runner import Runner
from grader.twin.plan import Description, IOTensor, Plan, seal, unseal

KEY = b"key of the tests"
VERSION = importlib.metadata.version("tensorrt_rtx")
TWIN = tiers.Tier("twin", VERSION)


@pytest.fixture(scope="module")
def engines() -> Iterator[Runner]:
    with Runner(TWIN, KEY) as runner:
        yield runner


@pytest.fixture(scope="module")
def network() -> SmallNetwork:
    return SmallNetwork.draw(np.random.default_rng(7))


@pytest.fixture(scope="module")
def plan(engines: Runner, network: SmallNetwork) -> bytes:
    return engines.build(network.onnx, {network.input: network.profile})


@pytest.fixture
def batch(network: SmallNetwork) -> np.ndarray:
    return network.inputs(np.random.default_rng(8), 3)


def _refused(engines: Runner, plan: bytes, inputs: dict[str, np.ndarray], *words: str) -> None:
    with pytest.raises(EngineError) as caught:
        engines.run(plan, inputs)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def _resealed(plan: bytes, network: bytes, io: tuple[IOTensor, ...]) -> bytes:
    """A plan that only the key's owner can make: another network under an intact seal."""
    opened = unseal(plan, KEY, VERSION)
    description = Description("odd", VERSION, io, (), ())
    return seal(Plan(opened.engine, network, description), KEY)


def test_a_plan_of_several_profiles_has_them_in_order_and_runs_in_each(engines: Runner, network: SmallNetwork) -> None:
    profiles = [{network.input: [(n, *network.shape) for n in sizes]} for sizes in ((20, 30, 40), (1, 2, 3))]

    plan = engines.build(network.onnx, profiles)

    (given,) = (tensor for tensor in engines.inspect(plan).tensors if tensor.is_input)
    assert given.profiles == tuple(tuple(profile[network.input]) for profile in profiles)
    for size in (2, 40):
        batch = network.inputs(np.random.default_rng(size), size)
        assert error_of(engines.run(plan, {network.input: batch})[network.output], network.expected(batch)) < 1e-5
    _refused(engines, plan, {network.input: network.inputs(np.random.default_rng(0), 10)}, "outside", "or")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_plan_gives_the_networks_own_answers_in_every_batch_of_its_profile(engines: Runner, dtype: str) -> None:
    network = SmallNetwork.draw(np.random.default_rng(11), dtype)
    plan = engines.build(network.onnx, {network.input: network.profile})

    for size in (1, 5, MAX_BATCH):
        batch = network.inputs(np.random.default_rng(size), size)
        outputs = engines.run(plan, {network.input: batch})
        want = network.expected(batch)

        assert set(outputs) == {network.output}
        assert outputs[network.output].dtype == want.dtype
        assert error_of(outputs[network.output], want) <= (1e-5 if dtype == "float32" else 1e-2)


def test_inspection_tells_names_types_shapes_profiles_and_layers(
    engines: Runner, network: SmallNetwork, plan: bytes
) -> None:
    seen = engines.inspect(plan)

    classes = network.expected(network.inputs(np.random.default_rng(0), 1)).shape[1]
    assert seen.tensors == (
        Tensor(network.input, "FLOAT", (-1, *network.shape), True, (network.profile,)),
        Tensor(network.output, "FLOAT", (-1, classes), False, ()),
    )
    assert {"CONVOLUTION", "POOLING"} <= {kind for _, kind, _ in seen.layers}
    assert {precision for _, kind, precision in seen.layers if kind in ("CONVOLUTION", "POOLING")} == {"FLOAT"}


def test_inspection_tells_the_kernels_and_the_nodes_that_became_them(
    engines: Runner, network: SmallNetwork, plan: bytes
) -> None:
    seen = engines.inspect(plan)

    assert seen.untold == ""
    nodes = [node.name or f"node_of_{node.output[0]}" for node in onnx.load_from_string(network.onnx).graph.node]
    told = [name for kernel in seen.kernels for name in kernel.layers]
    assert set(told) <= set(nodes)
    assert len(set(told)) > len(nodes) // 2, "all but those that only rearrange"
    reads = {port.name: port for kernel in seen.kernels for port in kernel.inputs}
    writes = {port.name: port for kernel in seen.kernels for port in kernel.outputs}
    assert reads[network.input].shape == (-1, *network.shape)
    assert network.output in writes
    assert all(port.format.startswith("Float ") for port in (reads[network.input], writes[network.output]))
    assert seen.activation_bytes > MAX_BATCH * np.prod(network.shape) * 4


def test_a_model_that_does_not_parse_is_refused_with_the_parsers_words(engines: Runner, network: SmallNetwork) -> None:
    with pytest.raises(EngineError, match=r"the network does not parse: [^$]*Plugin not found"):
        engines.build(network.with_unknown_operator(), {network.input: network.profile})
    with pytest.raises(EngineError, match="the network does not parse"):
        engines.build(b"these are words", {})


def test_a_dynamic_model_without_a_profile_does_not_build(engines: Runner, network: SmallNetwork) -> None:
    with pytest.raises(EngineError, match=r"the build failed: .*profile"):
        engines.build(network.onnx)


def test_a_plan_of_another_key_is_refused(network: SmallNetwork, plan: bytes, batch: np.ndarray) -> None:
    with Runner(TWIN, b"another key") as other:
        _refused(other, plan, {network.input: batch}, "not built in this run")
        with pytest.raises(EngineError, match="not built in this run"):
            other.inspect(plan)


@pytest.mark.parametrize("kind", ["empty", "words", "cut", "altered", "lengthened", "network", "another version"])
def test_a_plan_that_is_none_is_refused_and_the_next_one_runs(
    engines: Runner, network: SmallNetwork, plan: bytes, batch: np.ndarray, kind: str
) -> None:
    middle = len(plan) // 2
    newer = Description.from_data(dataclasses.asdict(unseal(plan, KEY, VERSION).description) | {"tensorrt": "99.9"})
    bad = {
        "empty": b"",
        "words": b"these are words, not a plan",
        "cut": plan[:middle],
        "altered": plan[:middle] + bytes([plan[middle] ^ 1]) + plan[middle + 1 :],
        "lengthened": b"\0" + plan,
        "network": network.onnx,
        "another version": seal(dataclasses.replace(unseal(plan, KEY, VERSION), description=newer), KEY),
    }[kind]

    _refused(engines, bad, {network.input: batch}, "plan")
    with pytest.raises(EngineError):
        engines.inspect(bad)

    assert error_of(engines.run(plan, {network.input: batch})[network.output], network.expected(batch)) <= 1e-5


@pytest.mark.parametrize("size", [0, MAX_BATCH + 1])
def test_a_batch_outside_the_profile_is_refused_with_the_profile(
    engines: Runner, network: SmallNetwork, plan: bytes, size: int
) -> None:
    batch = np.zeros((size, *network.shape), np.float32)
    _refused(engines, plan, {network.input: batch}, repr(network.input), "outside the engine's profile", str(MAX_BATCH))


def test_a_shape_of_another_rank_is_refused(engines: Runner, network: SmallNetwork, plan: bytes) -> None:
    _refused(engines, plan, {network.input: np.zeros(network.shape, np.float32)}, "outside the engine's profile")


def test_another_dtype_is_refused(engines: Runner, network: SmallNetwork, plan: bytes, batch: np.ndarray) -> None:
    _refused(engines, plan, {network.input: batch.astype(np.float64)}, "is FLOAT, not float64")


def test_an_input_that_is_missing_is_named(engines: Runner, network: SmallNetwork, plan: bytes) -> None:
    _refused(engines, plan, {}, repr(network.input))


def test_an_input_too_many_is_named(engines: Runner, network: SmallNetwork, plan: bytes, batch: np.ndarray) -> None:
    _refused(engines, plan, {network.input: batch, "more": batch}, "no input 'more'", network.input)


def test_a_model_with_data_in_other_files_is_neither_built_nor_run(
    engines: Runner, network: SmallNetwork, plan: bytes, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=str(secret))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "odd", [given], [answer], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    with pytest.raises(EngineError, match="keeps its data in another file"):
        engines.build(model)
    io = (IOTensor("x", "FLOAT", (4,), True), IOTensor("y", "FLOAT", (4,), False))
    before = engines._child
    _refused(engines, _resealed(plan, model, io), {"x": np.zeros(4, np.float32)})
    assert engines._child is before, "the runner died of it"


def test_a_network_that_fails_while_it_runs_is_an_engine_error(engines: Runner, plan: bytes) -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [4]), ("y", None))]
    shape = onnx.numpy_helper.from_array(np.array([3]), "shape")
    graph = helper.make_graph([node], "odd", values[:1], values[1:], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    io = (IOTensor("x", "FLOAT", (4,), True), IOTensor("y", "FLOAT", (3,), False))

    _refused(engines, _resealed(plan, model, io), {"x": np.zeros(4, np.float32)}, "the engine does not run")


def test_a_runner_that_died_is_started_again(engines: Runner, network: SmallNetwork, plan: bytes, batch: np.ndarray):
    engines.inspect(plan)
    assert engines._child is not None
    before = engines._child.pid
    os.kill(before, signal.SIGKILL)
    engines._child.wait(10)

    assert network.output in engines.run(plan, {network.input: batch})
    assert engines._child.pid != before


def test_a_runner_that_is_not_done_in_time_says_so_and_is_started_again(
    engines: Runner, network: SmallNetwork, plan: bytes
) -> None:
    def build_again_and_again() -> None:
        for _ in range(100):  # the watchdog looks every 20 ms
            engines.build(network.onnx, {network.input: network.profile}, seconds=0.001)

    with pytest.raises(EngineError, match=r"the engine runner was not done after 0\.001 s"):
        build_again_and_again()
    assert engines.inspect(plan).tensors


def test_a_request_that_cannot_be_sent_does_not_confuse_the_next_one(
    engines: Runner, network: SmallNetwork, plan: bytes, batch: np.ndarray
) -> None:
    with pytest.raises(wire.WireError):
        engines.run(plan, {network.input: object()})  # type: ignore[dict-item]
    assert network.output in engines.run(plan, {network.input: batch})


def test_trouble_while_it_starts_leaves_no_process(monkeypatch: pytest.MonkeyPatch, plan: bytes) -> None:
    def trouble(*_: object) -> None:
        raise RuntimeError("trouble of ours")

    def below() -> set[int]:
        return {process.pid for process in psutil.Process().children(recursive=True)}

    before = below()
    with Runner(TWIN, KEY) as runner:
        with monkeypatch.context() as patch:
            patch.setattr(module, "wait_ready", trouble)
            with pytest.raises(RuntimeError, match="trouble of ours"):
                runner.inspect(plan)
            assert below() <= before
        assert runner.inspect(plan).tensors
    assert below() <= before
