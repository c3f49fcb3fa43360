"""What is asked of an answer to q1_how_it_works."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from grader.engines.interface import EngineError, Inspection
from grader.fixtures.activations import activations, peak_bytes
from grader.fixtures.efficientnet import efficientnet_lite0_onnx
from grader.fixtures.plans import refusal, trusted_plan
from grader.fixtures.private.arenas import ALIGNMENT, cut_arena, overlapping
from grader.fixtures.private.broken_models import KINDS, BrokenModel, broken, parsers_words
from grader.fixtures.private.conv_networks import ConvNetwork, with_fixed_batch
from grader.fixtures.private.needs import draw_needs
from grader.fixtures.private.several_tensors import SeveralTensors
from grader.fixtures.speech.whisper_encoder import weight_shapes, whisper_encoder_onnx
from grader.judging.engine_reports import convolutions_compute_in, memory_of, of_the_model, reformats_of, removed_from
from grader.judging.judge import array, close, error_of, expect_raises, fail, fp32, went_through
from grader.plugin import Call, Recorder
from grader.processes.candidate import CallFailed, GivenFile, Returned
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest

#: A model, its nodes, what was told of its engine, and what the grader reads in the same plan.
Optimised = tuple[str, list[str], dict[str, Any], Inspection]
Reports = Callable[[], list[Optimised]]

#: What the parser makes of operators that become one layer in every TensorRT.
LAYER_OF = {
    "Conv": "CONVOLUTION", "BatchNormalization": "SCALE", "Relu": "ACTIVATION", "Clip": "ACTIVATION",
    "Add": "ELEMENTWISE", "MaxPool": "POOLING", "GlobalAveragePool": "REDUCE", "Softmax": "SOFTMAX",
}  # fmt: skip
SILENT = ("newer opset", "text file", "empty file")  #: models that TensorRT's parser takes without an error
#: Error of a build in a precision: one that is smaller, or larger, was not built in it.
PRECISE = {"INT8": (5e-3, 5e-2), "FP16": (1e-5, 1e-2), "TF32": (0.0, 1e-2), "FP32": (0.0, 5e-5)}


@pytest.fixture(scope="module")
def private(recorder: Recorder) -> ConvNetwork:
    """A network that only this run knows."""
    return ConvNetwork.draw(np.random.default_rng([recorder.seed, 1]))


@pytest.fixture(scope="module")
def efficientnet() -> ConvNetwork:
    return ConvNetwork.of(with_fixed_batch(efficientnet_lite0_onnx().read_bytes()))


def _used(runner: Runner, plan: bytes, network: ConvNetwork, x: np.ndarray) -> tuple[Inspection, np.ndarray]:
    """What a plan tells of itself, and its output; input and output are float32."""
    try:
        engine, outputs = runner.inspect(plan), runner.run(plan, {network.input: x})
    except EngineError as refused:
        fail(f"the plan cannot be used: {refused}")
    return engine, array(outputs.get(network.output), "the plan's output", dtype="float32", shape=network.result)


# -- convert


@pytest.mark.task("convert")
@pytest.mark.parametrize("model", ["private network", "efficientnet"])
def test_a_network_is_told_layer_by_layer(call: Call, runner, tier, private, efficientnet, model) -> None:
    network = private if model == "private network" else efficientnet
    told = _told(call("convert", GivenFile("model.onnx", network.onnx)).value)
    if told["errors"]:
        fail(f"convert of a good model tells an error: {told['errors'][0]}")
    layers = [(layer.get("name"), layer.get("type")) for layer in told["layers"]]
    if tier.name == "twin" and network is private:  # EfficientNet-Lite0 shows well enough by its nodes
        walked = runner.inspect(trusted_plan(runner, tier, network.onnx, {})).layers
        _same_list(layers, [(name, kind) for name, kind, _ in walked], "layers")
    for name, operator in network.nodes:
        if operator in LAYER_OF and (name, LAYER_OF[operator]) not in layers:
            fail(f"node {name!r} ({operator}) is a layer of type {LAYER_OF[operator]}, which convert does not tell")
    shapes = {"inputs": (network.input, network.shape), "outputs": (network.output, network.result)}
    for side, (name, shape) in shapes.items():
        want = [{"name": name, "dtype": "FLOAT", "shape": list(shape)}]
        if told[side] != want:
            fail(f"convert must tell {side} as {want}, not {told[side]!r:.200}")


@pytest.mark.task("convert-errors")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SILENT])
def test_what_the_parser_refuses_is_told_as_data(call: Call, runner: Runner, tier: Tier, private, rng, kind) -> None:
    bad, reasons = _tells_faults(call, tier, private, rng, kind)
    if tier.name == "twin" and any(node for node, _ in bad.faults):  # what a file as such has wrong needs no parser
        refused = refusal(runner, bad.onnx)
        assert refused, f"TensorRT takes a model with {kind}"
        if (words := parsers_words(refused)) not in reasons[-1]:
            fail(f"convert of a bad model ({kind}): the parser says {words!r}, told was {reasons[-1]!r:.200}")


@pytest.mark.task("convert-errors")
@pytest.mark.parametrize("kind", SILENT)
def test_what_the_parser_lets_pass_is_told_as_well(call: Call, tier: Tier, private, rng, kind) -> None:
    _tells_faults(call, tier, private, rng, kind)


def _tells_faults(
    call: Call, tier: Tier, network: ConvNetwork, rng: np.random.Generator, kind: str
) -> tuple[BrokenModel, list[str]]:
    """The bad model, and the reasons that were told."""
    good = _told(call("convert", GivenFile("good.onnx", network.onnx)).value)
    if good["errors"] or not good["layers"]:
        fail("convert must tell the layers of a good model, and no errors")
    bad = broken(kind, network, rng)
    told = _told(call("convert", GivenFile("bad.onnx", bad.onnx)).value)
    about = f"convert of a bad model ({kind})"
    if any(told[side] for side in ("layers", "inputs", "outputs")) or not told["errors"]:
        fail(f"{about} must tell errors, and neither layers nor inputs nor outputs")
    faults = [(error.get("node"), error.get("operator")) for error in told["errors"]]
    wanted = list(bad.faults)
    if tier.name != "twin" and len(faults) < len(wanted):
        wanted = wanted[:1]  # TensorRT 8.6 stops at the first
    if faults != wanted:
        fail(f"{about}: to blame are {wanted} (node, operator), told were {faults!r:.300}")
    for error in told["errors"]:
        reason = error.get("reason")
        if not isinstance(reason, str) or not re.search(bad.says, reason):
            fail(f"{about}: the reason says too little: {reason!r:.200}")
    return bad, [error["reason"] for error in told["errors"]]


def _told(value: Any) -> dict[str, list[dict[str, Any]]]:
    """What convert returned, when it has the promised form."""
    keys = ("layers", "inputs", "outputs", "errors")
    if not isinstance(value, dict) or set(value) != set(keys):
        fail(f"convert must return a dict with the keys {', '.join(keys)}, not {value!r:.120}")
    for key, items in value.items():
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            fail(f"convert must return {key!r} as a list of dicts, not {items!r:.120}")
    return value


def _same_list(got: list, want: list, what: str) -> None:
    """Raises CheckFailed for the first difference."""
    for index, (ours, theirs) in enumerate(zip(want, got, strict=False)):
        if ours != theirs:
            fail(f"of the {what}, number {index} is {ours}, told was {theirs!r:.200}")
    if len(got) != len(want):
        fail(f"there are {len(want)} {what}, told were {len(got)}")


# -- optimise


@pytest.fixture(scope="module")
def optimised(call: Call, runner: Runner, tier: Tier, recorder: Recorder, private, efficientnet) -> Reports:
    """Gives the answer's plans and reports, built once for all the checks that read them.

    They are built when a check asks: what breaks while a check is prepared counts as no fault of the answer's.
    """

    @functools.cache
    def build() -> list[Optimised]:
        rng = np.random.default_rng([recorder.seed, 2])
        given = (
            ("a private network", private, fp32(tier)),
            ("a float16 network", ConvNetwork.draw(rng, half=True), 1e-2),
            ("EfficientNet-Lite0", efficientnet, fp32(tier)),
        )
        found = [_optimised(call, runner, name, one, one.inputs(rng), within) for name, one, within in given]
        for (_, network, _), (name, _, _, engine) in zip(given[:2], found, strict=False):
            if tier.name == "twin":  # whose builder does the same each time
                of_the_model(engine, runner.inspect(trusted_plan(runner, tier, network.onnx, {})), name)
        return found

    return build


def _optimised(call: Call, runner: Runner, name: str, network: ConvNetwork, x: np.ndarray, within: float) -> Optimised:
    value = call("optimise", GivenFile("model.onnx", network.onnx), seconds=30).value
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not isinstance(value[0], bytes):
        fail("optimise must return a plan, as bytes, and a report")
    plan, report = value
    if not isinstance(report, dict) or any(
        not isinstance(report.get(p), list) for p in ("kernels", "removed", "reformats")
    ):
        fail("optimise must report kernels, removed and reformats, each a list")
    engine, output = _used(runner, plan, network, x)
    close(output, network.expected(x), f"the output of the plan of {name}", within=within)
    if not any(kernel.layers for kernel in engine.kernels):
        fail(f"the plan of {name} does not tell its kernels: build with ProfilingVerbosity.DETAILED {engine.untold}")
    return name, [node for node, _ in network.nodes], report, engine


@pytest.mark.task("fusion")
def test_every_kernel_is_told_with_the_nodes_in_it(optimised: Reports) -> None:
    for name, _, report, engine in optimised():
        told = [_kernel(kernel) for kernel in report["kernels"]]
        truth = [(kernel.name, sorted(kernel.layers)) for kernel in engine.kernels]
        _same_list(told, truth, f"kernels of {name}")


@pytest.mark.task("removed")
def test_nodes_in_no_kernel_are_told(optimised: Reports) -> None:
    for name, nodes, report, engine in optimised():
        truth, told = removed_from(nodes, engine), report["removed"]
        if not all(isinstance(node, str) for node in told) or sorted(told) != sorted(truth):
            fail(f"of {name}, in no kernel are {truth}, told were {told!r:.300}")


@pytest.mark.task("formats")
def test_changes_of_format_are_told(optimised: Reports) -> None:
    for name, _, report, engine in optimised():
        _same_list(report["reformats"], reformats_of(engine), f"changes of format in {name}")


def _kernel(told: Any) -> tuple[Any, list[str]]:
    layers = told.get("layers") if isinstance(told, dict) else None
    if not isinstance(layers, list) or not all(isinstance(layer, str) for layer in layers):
        fail(f"a kernel is told as a dict with its name and its layers' names, not as {told!r:.120}")
    return told.get("name"), sorted(layers)


# -- memory


@pytest.mark.task("memory")
@pytest.mark.parametrize("model", ["EfficientNet-Lite0", "Whisper's encoder"])
def test_activations_of_real_networks_share_an_arena(call: Call, rng, efficientnet, model) -> None:
    if model == "EfficientNet-Lite0":
        found = activations(efficientnet.onnx)
    else:
        found = activations(whisper_encoder_onnx(), weights=weight_shapes())
    tensors = [(a.bytes, a.first_step, a.last_step) for a in (found[i] for i in rng.permutation(len(found)))]
    _fits(call, tensors, peak_bytes(tensors), f"the activations of {model}")


@pytest.mark.task("memory")
def test_two_hundred_cut_arenas_are_filled_again(call: Call, rng) -> None:
    for number in range(200):
        tensors, best = cut_arena(rng)
        _fits(call, tensors, best, f"problem {number} of 200, {len(tensors)} tensors that fill an arena")


def _fits(call: Call, tensors: list[tuple[int, int, int]], best: int, what: str) -> None:
    offsets = call("plan_memory", tensors, seconds=10).value
    integers = isinstance(offsets, list) and all(isinstance(o, (int, np.integer)) for o in offsets)
    if not integers or len(offsets) != len(tensors):
        fail(f"plan_memory must return a list of {len(tensors)} integers for {what}")
    if wrong := [offset for offset in offsets if offset < 0 or offset % ALIGNMENT]:
        fail(f"{what}: offset {wrong[0]} is not a multiple of {ALIGNMENT}, or negative")
    if both := overlapping(tensors, offsets):
        told = " and ".join(f"{tensors[i]} at {offsets[i]}" for i in both)
        fail(f"{what}: two tensors that live at the same time overlap: (bytes, first step, last step) {told}")
    arena = max(offset + size for offset, (size, _, _) in zip(offsets, tensors, strict=True))
    if arena > 1.1 * best:
        fail(f"{what}: the arena has {arena} bytes, {arena / best:.2f} times what is needed ({best}); 1.10 is allowed")


@pytest.mark.task("memory-explained")
@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_an_engines_memory_is_explained(call: Call, runner: Runner, tier: Tier, rng, half) -> None:
    plan = trusted_plan(runner, tier, ConvNetwork.draw(rng, half=half).onnx, {})
    truth = memory_of(runner.inspect(plan))
    told = call("explain_memory", plan).value
    if not isinstance(told, dict) or set(told) != set(truth):
        fail(f"explain_memory must return a dict with the keys {', '.join(truth)}, not {told!r:.120}")
    for key, want in truth.items():
        if told[key] != want:
            fail(f"{key} is {want}, told was {told[key]!r:.80}")


# -- hardware


@pytest.mark.task("hardware")
@pytest.mark.parametrize("kind", ["one GPU", "many GPUs", "fewest plans"])
def test_the_cheapest_precision_that_meets_the_need_is_chosen(call: Call, rng, kind) -> None:
    for need in draw_needs(rng, kind):
        told = call("choose", need.given()).value
        if told != need.plans:
            fail(f"{need}: wanted are {need.plans}, chosen were {told!r:.300}")


@pytest.mark.task("hardware")
def test_what_no_precision_can_give_is_a_value_error(call: Call, rng) -> None:
    need = draw_needs(rng, "one GPU")[0]
    if call("choose", need.given()).value != need.plans:
        fail(f"{need}: wanted are {need.plans}")
    with expect_raises("ValueError", "choose for an error that is smaller than FP32's"):
        call("choose", need.given() | {"max_error": float(rng.uniform(1e-8, 9e-6))})


@pytest.mark.task("build")
@pytest.mark.parametrize("precision", list(PRECISE))
def test_a_choice_is_built_in_its_precision(call: Call, runner: Runner, tier: Tier, rng, precision) -> None:
    network = ConvNetwork.plain(rng, gain=1e5 if precision in ("TF32", "FP32") else 1.0)
    x = network.inputs(rng)
    built = _built(call, network, [x, network.inputs(rng)], {"capabilities": [[8, 6]], "precision": precision})
    engine, output = _used(runner, built.value, network, x)
    least, most = PRECISE[precision]
    error = error_of(output, network.expected(x))
    if not error <= most:
        fail(f"the {precision} plan's output is off by {error:.2g}, at most {most:g} is allowed")
    if error < least:
        fail(f"the {precision} plan's output is off by {error:.2g} only: it was not built in {precision}")
    if tier.name == "twin":  # others tell types only of plans with detailed verbosity
        convolutions_compute_in(precision, [node for node, operator in network.nodes if operator == "Conv"], engine)
    tf32 = {"TF32": True, "FP32": False}.get(precision)  # the flag means nothing to the others
    if built.evidence.known and tf32 not in (None, "TF32" in _config(built)["flags"]):
        fail(f"for {precision}, BuilderFlag.TF32 must be {'set' if tf32 else 'cleared'}")


@pytest.mark.task("build")
def test_a_plan_is_built_for_its_gpus(call: Call, runner: Runner, tier: Tier, rng) -> None:
    if tier.name == "rtx":
        pytest.skip("a TensorRT-RTX plan does not tell its targets")
    for capabilities in ([[8, 6]], [[8, 0], [8, 9]], [[8, 6], [8, 9], [12, 0]]):
        network = ConvNetwork.plain(rng)
        built = _built(call, network, [network.inputs(rng)], {"capabilities": capabilities, "precision": "FP16"})
        if built.evidence.known:
            told = sorted(_config(built)["compute_capabilities"])
            wanted = sorted(f"SM{major}{minor}" for major, minor in capabilities)
        else:
            told = [runner.inspect(built.value).hardware_compatibility]
            wanted = ["AMPERE_PLUS" if len(capabilities) > 1 else "NONE"]
        if told != wanted:
            fail(f"for the capabilities {capabilities} the plan must be built for {wanted}, it was for {told}")


def _built(call: Call, network: ConvNetwork, calibration: list[np.ndarray], choice: dict[str, Any]) -> Returned:
    """A call of build_for with the largest magnitudes that ``calibration`` shows."""
    seen = [network.largest(x) for x in calibration]
    amax = {name: max(one[name] for one in seen) for name in seen[0]}
    built = call("build_for", GivenFile("model.onnx", network.onnx), choice, amax)
    if not isinstance(built.value, bytes) or not built.value:
        fail(f"build_for must return the plan as bytes, not {built.value!r:.120}")
    return built


def _config(built: Returned) -> dict[str, Any]:
    """What the plan's config was set to."""
    found = [config for config in built.evidence.configs if config["plan"] == digest(built.value)]
    return found[0] if found else fail("the plan that build_for returned was not built in this call")


# -- execute


@pytest.fixture(scope="module")
def several(runner: Runner, tier: Tier, recorder: Recorder) -> tuple[SeveralTensors, bytes]:
    """A network of several inputs and outputs, and its trusted plan."""
    network = SeveralTensors.draw(np.random.default_rng([recorder.seed, 3]))
    return network, trusted_plan(runner, tier, network.onnx, network.profile)


@pytest.mark.task("execute")
def test_outputs_come_by_name_and_in_their_own_types(call: Call, several, rng) -> None:
    network, plan = several
    for _ in range(3):
        _, returned = _runs(call, network, plan, rng)
        for entry in returned.evidence.log:
            if entry["do"] == "launch" and not entry["stream"]:
                fail(f"the engine ran on the default stream ({entry['line']}): make one, and enqueue everything on it")


@pytest.mark.task("execute")
@pytest.mark.parametrize("wrong", ["shape", "dtype", "missing", "unknown"])
def test_inputs_that_do_not_fit_are_value_errors(call: Call, several, rng, wrong) -> None:
    network, plan = several
    good, _ = _runs(call, network, plan, rng)
    larger, extra = network.inputs(rng, network.batches[2] + 1, network.picks[2]), f"extra_{rng.integers(10**6)}"
    bad, names = {
        "shape": (good | larger, (network.features, network.gains)),
        "dtype": (good | {network.features: good[network.features].astype(np.float16)}, (network.features,)),
        "missing": ({name: value for name, value in good.items() if name != network.gains}, (network.gains,)),
        "unknown": (good | {extra: good[network.gains]}, (extra,)),
    }[wrong]
    with expect_raises("ValueError", f"execute with wrong inputs ({wrong})"):
        try:
            call("execute", plan, bad)
        except CallFailed as failure:
            told = failure.raised if failure.raised and "ValueError" in failure.raised.bases else None
            if told and not any(name in told.message for name in names):
                fail(f"execute with wrong inputs ({wrong}): the ValueError does not name {names[0]!r}: {told}")
            raise


def _runs(
    call: Call, network: SeveralTensors, plan: bytes, rng: np.random.Generator
) -> tuple[dict[str, Any], Returned]:
    """Checks one good run, and returns its inputs and what the call gave."""
    batch, picked = (int(rng.integers(low, high + 1)) for low, _, high in (network.batches, network.picks))
    inputs = network.inputs(rng, batch, picked)
    returned, want = call("execute", plan, inputs), network.expected(inputs)
    if not isinstance(returned.value, dict) or set(returned.value) != set(want):
        fail(f"execute must return a dict with the outputs {sorted(want)}, not {returned.value!r:.120}")
    for name, wanted in want.items():
        got = array(returned.value[name], f"output {name!r}", dtype=wanted.dtype.name, shape=wanted.shape)
        close(got, wanted, f"output {name!r}", within=1e-2 if wanted.dtype == np.float16 else 1e-6)
    for value in inputs.values():
        went_through(returned, digest(plan), value)
    return inputs, returned
