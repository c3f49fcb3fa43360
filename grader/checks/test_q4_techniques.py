"""What is asked of an answer to q4_techniques."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import numpy as np
import onnx
import pytest

from grader.engines.interface import EngineError, Kernel
from grader.fixtures.efficientnet import efficientnet_lite0_onnx, reference_logits
from grader.fixtures.efficientnet_half import efficientnet_lite0_fp16
from grader.fixtures.held_back_photos import efficientnet_scales, seen_and_held_back
from grader.fixtures.plans import trusted_plan
from grader.fixtures.private import blocked_fusion, half_range, quantizable
from grader.fixtures.private.blocked_fusion import BlockedGraph
from grader.fixtures.private.quantizable import QuantizableNetwork
from grader.fixtures.private.small_networks import SmallNetwork
from grader.judging.device_log import (
    allocated,
    answers,
    copied_asynchronously,
    not_one_after_the_other,
    three_kinds_of_streams,
    waited_after_the_last,
)
from grader.judging.judge import (
    Inconclusive,
    array,
    close,
    expect_raises,
    fail,
    fp32,
    kind_of,
    went_through,
)
from grader.judging.timing import Comparison, at_most, interleaved, per_pass
from grader.plugin import Call, Recorder
from grader.processes.candidate import GivenFile
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest

#: Of INT8 on held-back inputs: root mean square error of each output, relative to how much that output varies.
INT8_ERROR = 0.12
EFFICIENTNET_INT8_ERROR = 0.25
#: Bytes by which an allocation may exceed what is needed: for alignment.
SLACK = 8192
_MOST_DRAWS = 12
#: Timings, as ratios within one run.
PINNED_RATIO, OVERLAP_RATIO, GRAPH_RATIO = 0.8, 1.15, 0.9


@pytest.fixture(scope="module")
def small(runner: Runner, recorder: Recorder) -> tuple[SmallNetwork, bytes]:
    """A network that only this run knows, and its trusted plan."""
    network = SmallNetwork.draw(np.random.default_rng([recorder.seed, 3]))
    return network, runner.build(network.onnx, {network.input: network.profile})


# -- fusion


@pytest.fixture(scope="module")
def costly(runner: Runner, tier: Tier) -> list[str]:
    """The ways of blocking fusion that cost kernels on this tier: the others its builder mends by itself.

    Found with graphs that are no secret, so that a GPU's slow builds are kept.
    """
    rng, found = np.random.default_rng(0), []
    for kind in blocked_fusion.KINDS:
        graph = blocked_fusion.draw(rng, [kind])
        naive, plain = (
            _count(runner, trusted_plan(runner, tier, m, graph.profile)) for m in (graph.naive, graph.plain)
        )
        if naive > plain:
            found.append(kind)
    if len(found) < 3:
        pytest.skip(f"this tier's builder fuses nearly anything: only {', '.join(found) or 'nothing'} costs kernels")
    return found


@pytest.mark.task("fusion")
@pytest.mark.parametrize("part", [0, 1])
def test_a_blocked_graph_becomes_as_few_kernels_as_the_plain_one(call: Call, runner, tier, costly, rng, part) -> None:
    kinds = [str(kind) for kind in np.array_split(costly, 2)[part]]
    graph = blocked_fusion.draw(rng, kinds)
    model, _ = _rewritten(call("unblock_fusion", GivenFile("blocked.onnx", graph.naive), list(graph.outputs)).value)
    plan = runner.build(model, graph.profile)
    _same_answers(runner, tier, graph, plan, rng)
    count, plain = _count(runner, plan), _kernels(runner, graph, graph.plain)
    if count > plain:
        fail(f"your form of a graph with {' and '.join(kinds)} becomes {count} kernels, the plain form {plain}")


@pytest.mark.task("fusion")
def test_what_only_looks_blocked_keeps_its_answers(call: Call, runner, tier, costly, rng) -> None:
    graph = blocked_fusion.look_alikes(rng)
    model, _ = _rewritten(call("unblock_fusion", GivenFile("alike.onnx", graph.naive), list(graph.outputs)).value)
    plan = runner.build(model, graph.profile)
    what = "transposes that do not cancel, a threshold that is not 0, convolutions that others read, too"
    _same_answers(runner, tier, graph, plan, rng, f" (it holds what only looks blocked: {what})")


@pytest.mark.task("fusion")
def test_the_figures_are_the_numbers_of_kernels(call: Call, runner, tier, costly, rng) -> None:
    graph = blocked_fusion.draw(rng, costly, identity=True)  # TensorRT 8.6 lists a layer for it, and launches none
    given = GivenFile("blocked.onnx", graph.naive)
    model, figures = _rewritten(call("unblock_fusion", given, list(graph.outputs)).value)
    want = {"kernels_before": _kernels(runner, graph, graph.naive), "kernels_after": _kernels(runner, graph, model)}
    if figures != want:
        fail(f"unblock_fusion returned the figures {figures!r:.200}; the engines have {want}")


def _rewritten(value: Any) -> tuple[bytes, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        fail(f"unblock_fusion must return the new model and its figures, not {type(value).__name__}")
    return _model(value[0], "unblock_fusion"), value[1]


def _kernels(runner: Runner, graph: BlockedGraph, model: bytes) -> int:
    return _count(runner, runner.build(model, graph.profile))


def _count(runner: Runner, plan: bytes) -> int:
    inspection = runner.inspect(plan)
    if inspection.untold:
        raise EngineError(f"the kernels of this engine are not known: {inspection.untold}")
    return len(inspection.kernels)


def _same_answers(runner, tier, graph: BlockedGraph, plan: bytes, rng, what: str = "") -> None:
    batch = graph.inputs(rng, int(rng.integers(2, 9)))
    got, want = runner.run(plan, {graph.input: batch}), graph.expected(batch)
    if set(got) != set(want):
        fail(f"the new graph has the outputs {sorted(got)}, wanted are {sorted(want)}")
    for name, expected in want.items():
        output = array(got[name], f"output {name!r} of the new graph{what}", dtype="float32", shape=expected.shape)
        close(output, expected, f"output {name!r} of the new graph{what}", within=_fp32(tier))


# -- FP16


@pytest.mark.task("fp16")
def test_all_but_the_named_nodes_compute_in_float16(call: Call, runner, rng) -> None:
    network = half_range.draw(rng)
    keep = [str(name) for name in rng.permutation(network.keep)]
    model = _model(call("to_fp16", GivenFile("float.onnx", network.onnx), keep).value, "to_fp16")
    for tensor in runner.inspect(runner.build(model, network.profile)).tensors:
        if tensor.dtype != "FLOAT":
            fail(f"the engine's tensor {tensor.name!r} is {tensor.dtype}; inputs and outputs stay float32")
    if own := half_range.nodes_of_its_own(model, network.onnx):
        fail(f"node {own[0]!r} is none of the model's, or one of them twice: add casts and constants, and nothing else")
    types = half_range.types_of_nodes(model)
    for names, wanted in ((network.keep, "FLOAT"), (network.others, "FLOAT16")):
        for name in names:
            if name not in types:
                fail(f"node {name!r} is gone from the new model")
            if types[name] != {wanted}:
                is_kept = "is named in keep" if wanted == "FLOAT" else "is not named in keep"
                fail(f"node {name!r} {is_kept}, but takes or gives {' and '.join(sorted(types[name]))}")


@pytest.mark.task("fp16")
def test_the_answers_are_those_of_float32_as_far_as_float16_goes(call: Call, runner, rng) -> None:
    network = half_range.draw(rng)
    model = _model(call("to_fp16", GivenFile("float.onnx", network.onnx), list(network.keep)).value, "to_fp16")
    plan = runner.build(model, network.profile)
    batch = network.inputs(rng, int(rng.integers(3, 9)))
    batch[int(rng.integers(len(batch)))] = 0  # its energy is nothing but the small constant
    got, want = runner.run(plan, {network.input: batch}), network.expected(batch)
    if network.output not in got:
        fail(f"the engine has the outputs {sorted(got)}, the model has {network.output!r}")
    output = got[network.output]
    if output.shape != want.shape or not np.isfinite(output).all():
        fail("the engine's output holds NaN or infinity: which values leave float16's range, and are all of them kept?")
    error = close(output, want, "the engine's output", within=1e-2)
    if error < 1e-5:
        fail("the engine's output is as exact as float32's: float16 arithmetic would show")


# -- INT8


@pytest.mark.task("calibrate")
@pytest.mark.parametrize("method", ["max", "percentile"])
def test_scales_are_those_of_all_samples_in_the_engine(call: Call, tier, rng, method) -> None:
    network = quantizable.draw(rng)
    samples = network.glitchy(rng, 32 + int(rng.integers(3, 30)))
    returned = call("calibrate", GivenFile("float.onnx", network.onnx), samples, method)
    scales = _scales(returned.value, network)
    want = network.scales(samples, method)
    for name, scale in scales.items():
        if not abs(scale - want[name]) <= (1e-3 if tier.name == "twin" else 1e-2) * want[name]:
            number = f"{method} calibration gives tensor {name!r} the scale {scale:.6g}, expected {want[name]:.6g}"
            mistake = network.mistake_in(scale, name, samples)
            fail(f"{number}: {mistake}" if mistake else number)
    if returned.evidence.known:
        ran = [batch for run in returned.evidence.runs for batch in run["inputs"].values() if batch.ndim == 4]
        if not ran or not all(any((item == batch).all(axis=(1, 2, 3)).any() for batch in ran) for item in samples):
            fail("the scales came without running all samples through an engine")
        gave: dict[str, float] = {}  # the largest magnitude of each output of the engines that ran
        for name, output in (pair for run in returned.evidence.runs for pair in run["outputs"].items()):
            gave[name] = max(gave.get(name, 0.0), float(np.abs(output).max()))
        for name, largest in network.scales(samples, "max").items():
            if name != network.input and not any(abs(one / 127 - largest) <= 1e-3 * largest for one in gave.values()):
                fail(f"tensor {name!r} was an output of no engine that ran: where does its scale come from?")


@pytest.mark.task("calibrate")
def test_an_unknown_method_is_a_value_error(call: Call, rng) -> None:
    network = quantizable.draw(rng)
    given, samples = GivenFile("float.onnx", network.onnx), network.inputs(rng, 3)
    call("calibrate", given, samples, "max")
    with expect_raises("ValueError", "calibrate with the method 'entropy'"):
        call("calibrate", given, samples, "entropy")


def _scales(value: Any, network: QuantizableNetwork) -> dict[str, float]:
    if not isinstance(value, dict) or not all(isinstance(v, (float, np.floating)) for v in value.values()):
        fail("calibrate must return a dict of tensor names and floats")
    if set(value) != set(network.activations):
        fail(f"calibrate gave scales for {sorted(value)}; the first inputs of Conv and Gemm are {network.activations}")
    return {name: float(scale) for name, scale in value.items()}


@pytest.mark.task("int8")
def test_nodes_with_a_scale_and_no_others_compute_in_int8(call: Call, runner, rng) -> None:
    network = quantizable.draw(rng, batch=8)  # a fixed one: TensorRT 8.6 tells a kernel's types for no other
    scales = network.scales(network.inputs(rng, 8), "max")
    left_out = network.activations[int(rng.integers(len(network.activations)))]
    some = {name: scale for name, scale in scales.items() if name != left_out}
    model = _model(call("quantize", GivenFile("float.onnx", network.onnx), some).value, "quantize")
    kernels = runner.inspect(runner.build(model)).kernels
    for node in onnx.load_from_string(network.onnx).graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        ports = [port.format for kernel in kernels if _is_of(kernel, node.name) for port in kernel.inputs]
        in_int8 = any("int8" in text.lower() for text in ports)
        if in_int8 != (node.input[0] in some):
            has = "has a scale" if node.input[0] in some else "has no scale"
            takes = f"its kernel {'takes' if in_int8 else 'does not take'} INT8"
            fail(f"the input of the {node.op_type} {node.name!r} {has}, but {takes}")


@pytest.mark.task("int8")
def test_answers_on_held_back_inputs_stay_within_the_bound(call: Call, runner, rng) -> None:
    network = quantizable.draw(rng)
    held_back = network.inputs(rng, 24)
    want = network.values(held_back)[network.output]
    scales = network.scales(network.inputs(rng, 60), "max")
    model = _model(call("quantize", GivenFile("float.onnx", network.onnx), scales).value, "quantize")
    outputs = runner.run(runner.build(model, network.profile), {network.input: held_back})
    got = array(outputs.get(network.output), "the engine's output", dtype="float32", shape=want.shape)
    error = float(np.mean(np.sqrt(((got - want) ** 2).mean(axis=0)) / want.std(axis=0)))
    if error > INT8_ERROR:
        fail(f"INT8 costs {error:.3f} of each output's variation on held-back inputs, at most {INT8_ERROR} is allowed")
    if error < 1e-3:
        fail("the engine's output is as exact as float32's: INT8 would show")


@pytest.mark.task("int8")
def test_efficientnet_names_photos_that_it_was_not_calibrated_on(call: Call, runner, rng) -> None:
    seen, held_back = seen_and_held_back(rng)
    given = GivenFile("model.onnx", efficientnet_lite0_onnx().read_bytes())
    model = _model(call("quantize", given, efficientnet_scales(seen)).value, "quantize")
    if in_float := _in_float(model):
        fail(f"{len(in_float)} nodes that have a scale compute in float, such as {in_float[0]!r}")
    profile = {"images": tuple((batch, 3, 224, 224) for batch in (1, 8, 32))}
    want = reference_logits(held_back)
    outputs = runner.run(runner.build(model, profile, seconds=100), {"images": held_back})
    got = array(outputs.get("logits"), "the engine's output", dtype="float32", shape=want.shape)
    error = float(np.sqrt(((got - want) ** 2).mean()) / want.std())
    if error > EFFICIENTNET_INT8_ERROR:
        fail(f"INT8 costs {error:.3f} of EfficientNet's logits' spread on held-back photos,"
             f" at most {EFFICIENTNET_INT8_ERROR} is allowed")  # fmt: skip
    if (got[:2].argmax(axis=1) != want[:2].argmax(axis=1)).any():
        fail("in INT8, EfficientNet no longer names photos that it was not calibrated on")


def _is_of(kernel: Kernel, node: str) -> bool:
    """Whether a kernel does this ONNX node's work. TensorRT 8.6 tells that in the kernel's name alone."""
    return node in kernel.layers or (not kernel.layers and node in kernel.name)


def _in_float(model: bytes) -> list[str]:
    """The Conv and Gemm nodes that do not take both of their factors from a DequantizeLinear."""
    nodes = onnx.load_from_string(model).graph.node
    dequantized = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    return [n.name for n in nodes if n.op_type in ("Conv", "Gemm") and not dequantized.issuperset(n.input[:2])]


# -- memory


@pytest.fixture(scope="module")
def several(runner: Runner, tier: Tier, recorder: Recorder) -> list[tuple[SmallNetwork, bytes]]:
    """Three networks of this run and their plans; no two need the same activation memory."""
    rng = np.random.default_rng([recorder.seed, 2])
    found: dict[int, tuple[SmallNetwork, bytes]] = {}
    for _ in range(_MOST_DRAWS):
        network = SmallNetwork.draw(rng)
        plan = runner.build(network.onnx, {network.input: network.profile})
        found[runner.inspect(plan).activation_bytes] = network, plan
        if len(found) == 3:
            return list(found.values())
    pytest.skip(f"{_MOST_DRAWS} networks need only {len(found)} different sizes of activation memory on this tier")


@pytest.mark.task("memory")
@pytest.mark.parametrize("largest", ["first", "last"])
def test_engines_share_one_buffer_of_the_largest_need(call: Call, runner, several, rng, largest) -> None:
    needs = [runner.inspect(plan).activation_bytes for _, plan in several]
    order = np.argsort(needs) if largest == "last" else np.argsort(needs)[::-1]
    networks, plans = zip(*(several[i] for i in order), strict=True)
    batches = [network.inputs(rng, int(rng.integers(2, 30))) for network in networks]
    returned = call("run_shared", list(plans), batches)
    _, used = _two(returned.value, "run_shared", "the outputs and the bytes of the activation buffer")
    if type(used) is not int or not max(needs) <= used <= max(needs) + SLACK:
        fail(f"run_shared says that the activation buffer has {used!r:.80} bytes; the largest need is {max(needs)}")
    if not returned.evidence.known:
        return
    addresses = {run["device_memory"] for run in returned.evidence.runs}
    if 0 in addresses:
        fail("an engine ran in memory of its context's own, not in yours: create it with the strategy USER_MANAGED")
    if len(addresses) != 1:
        fail(f"the engines computed in {len(addresses)} buffers, not in one that they share")
    sizes = allocated(returned.evidence)
    tensors = sum(b.nbytes + n.expected(b).nbytes for n, b in zip(networks, batches, strict=True))
    if used not in sizes or sum(sizes) > used + tensors + SLACK:
        fail(f"device memory of {sum(sizes)} bytes was allocated: inputs and outputs are {tensors}, activations {used}")


@pytest.mark.task("memory")
@pytest.mark.parametrize("passes", [1, 3])
def test_engines_that_share_memory_give_their_own_answers(call: Call, tier, several, rng, passes) -> None:
    networks, plans = zip(*(several[i] for i in rng.permutation(len(several))), strict=True)
    batches = [network.inputs(rng, int(rng.integers(2, 30))) for network in networks]
    returned = call("run_shared", list(plans), batches, passes=passes)
    outputs, _ = _two(returned.value, "run_shared", "the outputs and the bytes of the activation buffer")
    wanted = [network.expected(batch) for network, batch in zip(networks, batches, strict=True)]
    answers(outputs, wanted, "run_shared", _fp32(tier))
    for plan, batch in zip(plans, batches, strict=True):
        went_through(returned, digest(plan), batch)
    copied_asynchronously(returned.evidence, len(plans) * passes)
    waited_after_the_last(returned.evidence)


# -- overlap


@pytest.mark.task("overlap")
@pytest.mark.parametrize("passes", [1, 2])
def test_each_batch_gets_its_own_answer(call: Call, tier, small, rng, passes) -> None:
    network, plan = small
    size = int(rng.integers(2, 20))
    batches = [network.inputs(rng, size) for _ in range(2 * int(rng.integers(2, 4)) + 1)]
    returned = call("run_overlapped", plan, batches, passes=passes)
    answers(returned.value, [network.expected(batch) for batch in batches], "run_overlapped", _fp32(tier))
    for batch in batches:
        went_through(returned, digest(plan), batch)
    evidence = returned.evidence
    copied_asynchronously(evidence, len(batches) * passes)
    three_kinds_of_streams(evidence)
    not_one_after_the_other(evidence)
    waited_after_the_last(evidence)
    if evidence.known:
        sizes = allocated(evidence)
        pair = batches[0].nbytes + network.expected(batches[0]).nbytes
        if not 2 * pair <= sum(sizes) <= 2 * pair + SLACK:
            fail(f"buffers of {sum(sizes)} bytes on the device: two for an input and two for an output are {2 * pair}")


# -- graphs


@pytest.mark.task("graphs")
@pytest.mark.parametrize("passes", [1, 2])
def test_replays_answer_new_inputs_of_changing_shapes(call: Call, tier, small, rng, passes) -> None:
    network, plan = small
    requests = _requests(network, rng)
    returned = call("run_graphed", plan, requests, passes=passes)
    outputs, _ = _two(returned.value, "run_graphed", "the outputs and the figures")
    answers(outputs, [network.expected(request) for request in requests], "run_graphed", _fp32(tier))
    for request in requests:
        went_through(returned, digest(plan), request)
    copied_asynchronously(returned.evidence, len(requests) * passes)


@pytest.mark.task("graphs")
@pytest.mark.parametrize("passes", [1, 2])
def test_a_graph_is_captured_when_the_shape_changes_and_only_then(call: Call, small, rng, passes) -> None:
    network, plan = small
    requests = _requests(network, rng)
    returned = call("run_graphed", plan, requests, passes=passes)
    _, figures = _two(returned.value, "run_graphed", "the outputs and the figures")
    shapes = [request.shape for request in requests] * passes
    captures = 1 + sum(a != b for a, b in itertools.pairwise(shapes))
    want = {"captures": captures, "launches": len(shapes)}
    if figures != want:
        fail(f"run_graphed returned the figures {figures!r:.200}, expected {want}: batches of {[s[0] for s in shapes]}")
    if not returned.evidence.known:
        return
    done = [entry["do"] for entry in returned.evidence.log if not entry["captured"]]
    told = {"captures": done.count("capture_begin"), "launches": done.count("graph_launch")}
    if told != want:
        fail(f"run_graphed returned the figures {figures}, but the device saw {told}")
    if done.count("launch") > captures:
        fail(f"{done.count('launch')} plain enqueues for {captures} captures: one before each is enough")


def _requests(network: SmallNetwork, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of one size, of another, and of the first again, two or three of each."""
    first, second = rng.choice(np.arange(1, 30), 2, replace=False)
    sizes = [int(size) for size in (first, second, first) for _ in range(int(rng.integers(2, 4)))]
    return [network.inputs(rng, size) for size in sizes]


# -- timings, where there is a GPU


@pytest.fixture(scope="module")
def one_at_a_time(runner: Runner, tier: Tier) -> bytes:
    """A trusted plan of EfficientNet-Lite0 in float16 for single images: many kernels that take next to no time."""
    return trusted_plan(runner, tier, efficientnet_lite0_fp16(), {"images": ((1, 3, 224, 224),) * 3})


@pytest.fixture(scope="module")
def in_batches(runner: Runner, tier: Tier) -> bytes:
    """The same for batches of 32: computing takes about three times as long as copying."""
    return trusted_plan(runner, tier, efficientnet_lite0_fp16(), {"images": ((32, 3, 224, 224),) * 3})


@pytest.mark.task("memory-timed")
def test_staged_copies_take_less_time_than_pageable_ones(call: Call, runner, tier, rng, record_property) -> None:
    networks = [SmallNetwork.classifier(rng) for _ in range(2)]
    plans = [runner.build(network.onnx, {"images": network.profile}) for network in networks]
    batches = [network.inputs(rng, 32) for network in networks]

    def ours() -> float:
        return per_pass(lambda passes: call("run_shared", plans, batches, passes=passes), 5, 505)

    def theirs() -> float:
        return sum(
            runner.measure(plan, "pageable", {"images": batch}, 1, 20)
            for plan, batch in zip(plans, batches, strict=True)
        )

    outputs, _ = _two(call("run_shared", plans, batches, passes=2).value, "run_shared", "the outputs and the bytes")
    wanted = [network.expected(batch) for network, batch in zip(networks, batches, strict=True)]
    answers(outputs, wanted, "run_shared", _fp32(tier))
    found = at_most(PINNED_RATIO, ours, theirs)
    record_property("pinned / pageable", str(found))
    copies = sum(runner.measure(p, "copy", {"images": b}, 1, 20) for p, b in zip(plans, batches, strict=True))
    _did_all_the_work("run_shared", found, 0.8 * copies)
    if found.ratio > PINNED_RATIO:
        fail(f"a pass takes {found} of pageable copies; at most {PINNED_RATIO} is allowed: are the copies staged?")


@pytest.mark.task("overlap-timed")
def test_overlapped_batches_take_little_more_than_the_longer_part(call, runner, tier, in_batches, rng, record_property):
    batches = [rng.standard_normal((32, 3, 224, 224)).astype(np.float32) for _ in range(4)]
    one = {"images": batches[0]}

    def ours() -> float:
        return per_pass(lambda passes: call("run_overlapped", in_batches, batches, passes=passes), 5, 255)

    def longer() -> float:
        return max(runner.measure(in_batches, way, one, len(batches), 20) for way in ("copy", "compute"))

    def plain() -> float:
        return runner.measure(in_batches, "plain", one, len(batches), 20)

    wanted = [runner.run(in_batches, {"images": batch})["logits"] for batch in batches]
    answers(call("run_overlapped", in_batches, batches, passes=2).value, wanted, "run_overlapped", _fp32(tier))
    room = interleaved(plain, longer)
    record_property("plain / max(copy, compute)", str(room))
    if room.ratio <= OVERLAP_RATIO:
        raise Inconclusive(f"on this GPU there is nothing to overlap: without it, batches take {room}")
    found = at_most(OVERLAP_RATIO, ours, longer)
    record_property("overlapped / max(copy, compute)", str(found))
    _did_all_the_work("run_overlapped", found, 0.9 * longer())
    if found.ratio > OVERLAP_RATIO:
        fail(f"batches take {found} of max(copy, compute), at most {OVERLAP_RATIO} is allowed; without overlap: {room}")


@pytest.mark.task("graphs-timed")
def test_replaying_takes_less_time_than_enqueueing(call, runner, tier, one_at_a_time, rng, record_property) -> None:
    requests = [rng.standard_normal((1, 3, 224, 224)).astype(np.float32) for _ in range(4)]

    def ours() -> float:
        return per_pass(lambda passes: call("run_graphed", one_at_a_time, requests, passes=passes), 20, 1020)

    def theirs() -> float:
        return runner.measure(one_at_a_time, "plain", {"images": requests[0]}, len(requests), 200)

    wanted = [runner.run(one_at_a_time, {"images": request})["logits"] for request in requests]
    outputs, _ = _two(
        call("run_graphed", one_at_a_time, requests, passes=2).value, "run_graphed", "the outputs and the figures"
    )
    answers(outputs, wanted, "run_graphed", _fp32(tier))
    found = at_most(GRAPH_RATIO, ours, theirs)
    record_property("graph / plain", str(found))
    _did_all_the_work("run_graphed", found, 0.4 * theirs())
    if found.ratio > GRAPH_RATIO:
        fail(f"requests take {found} of plain enqueues, at most {GRAPH_RATIO} is allowed: is the graph replayed?")


def _did_all_the_work(function: str, found: Comparison, least: float) -> None:
    """Raises CheckFailed for times that nobody reaches who does everything in every pass."""
    seconds = statistics.median(found.ours)
    if seconds < least:
        least_ms = f"{1e3 * least:.3g} ms are its work alone"
        fail(f"a pass of {function} takes {1e3 * seconds:.3g} ms, but {least_ms}: is it done in each pass?")


# -- shared


def _two(value: Any, function: str, what: str) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        fail(f"{function} must return {what}, not {kind_of(value)}")
    return value[0], value[1]


def _model(value: Any, function: str) -> bytes:
    if not isinstance(value, bytes) or not value:
        fail(f"{function} must return the new model as bytes (model.SerializeToString()), not {type(value).__name__}")
    return value


def _fp32(tier: Tier) -> float:
    """Error allowed in float32 on the twin is twice that of others: folded weights are rounded again."""
    return 2e-5 if tier.name == "twin" else fp32(tier)
