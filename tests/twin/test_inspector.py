"""What an engine tells of its kernels, by the verbosity that was asked for, and what the builder's log tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorrt_rtx as trt

from grader.engines.interface import Kernel, onnx_layers
from grader.engines.twin import TwinEngines
from grader.twin.plan import unseal
from tests.twin.harness import KEY, Twin
from tests.twin.plans import Maker, enum, onnx_relu

_BUILD = """
class Told(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.records = []
    def log(self, severity, msg):
        self.records.append((int(severity), msg))
logger = Told()
builder = trt.Builder(logger)
def build(model, verbosity=None, change=lambda config: None):
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(model)
    config = builder.create_builder_config()
    if verbosity is not None:
        config.profiling_verbosity = getattr(trt.ProfilingVerbosity, verbosity)
    asked = config.profiling_verbosity
    change(config)
    plan = builder.build_serialized_network(network, config)
    assert config.profiling_verbosity == asked, "the config is as it was"
    return plan
def told(): return [text for _, text in logger.records if text.startswith("Layers:")]
JSON, LINE = trt.LayerInformationFormat.JSON, trt.LayerInformationFormat.ONELINE
import json
"""


def test_detailed_verbosity_tells_everything_in_tensorrts_form(twin: Twin) -> None:
    outcome = twin(
        _BUILD
        + """
engine = trt.Runtime(logger).deserialize_cuda_engine(build(bytes.fromhex(args[0]), "DETAILED"))
assert engine.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
inspector = engine.create_engine_inspector()
whole = json.loads(inspector.get_engine_information(JSON))
assert set(whole) == {"Layers", "Bindings"} and whole["Bindings"] == ["x", "y"]
each = [json.loads(inspector.get_layer_information(i, JSON)) for i in range(engine.num_layers)]
assert each == whole["Layers"]
lines = inspector.get_engine_information(LINE).split("\\n")
assert lines == [inspector.get_layer_information(i, LINE) for i in range(engine.num_layers)]
for line, layer in zip(lines, each):
    assert line.startswith(f"Name: {layer['Name']}, LayerType: {layer['LayerType']}, Inputs: [ {{ Name: x, Dim")
    assert line.endswith(f"Metadata: {layer['Metadata']}")
try:
    inspector.get_layer_information(engine.num_layers, JSON)
except IndexError:
    return whole["Layers"]
""",
        onnx_relu().hex(),
    ).clean()
    (layer,) = outcome.value
    assert list(layer) == ["Name", "LayerType", "Inputs", "Outputs", "TacticName", "StreamId", "Metadata"]
    assert onnx_layers(layer["Metadata"]) == ("only",)
    assert layer["Inputs"] == [
        {"Name": "x", "Dimensions": [2, 3], "Format/Datatype": "Float (Linear) Row major linear format"}
    ]
    assert [port["Name"] for port in layer["Outputs"]] == ["y"]


@pytest.mark.parametrize("verbosity", [None, "LAYER_NAMES_ONLY"])
def test_names_only_is_what_is_told_unless_more_is_asked_for(twin: Twin, verbosity: str | None) -> None:
    twin(
        _BUILD
        + """
engine = trt.Runtime(logger).deserialize_cuda_engine(build(bytes.fromhex(args[0]), args[1]))
assert engine.profiling_verbosity == trt.ProfilingVerbosity.LAYER_NAMES_ONLY
inspector = engine.create_engine_inspector()
(name,) = json.loads(inspector.get_engine_information(JSON))["Layers"]
assert name.startswith("__myl_Relu") and engine.num_layers == 1
assert inspector.get_layer_information(0, LINE) == inspector.get_engine_information(LINE) == name
assert json.loads(inspector.get_layer_information(0, JSON)) == name
""",
        onnx_relu().hex(),
        verbosity,
    ).clean()


def test_no_verbosity_tells_no_layers(twin: Twin) -> None:
    twin(
        _BUILD
        + """
engine = trt.Runtime(logger).deserialize_cuda_engine(build(bytes.fromhex(args[0]), "NONE"))
inspector = engine.create_engine_inspector()
assert json.loads(inspector.get_engine_information(JSON)) == {"Layers": [], "Bindings": ["x", "y"]}
assert inspector.get_engine_information(LINE) == inspector.get_layer_information(0, LINE) == ""
assert inspector.get_layer_information(0, JSON) == "" and engine.num_layers == 1
""",
        onnx_relu().hex(),
    ).clean()


def test_the_log_tells_the_kernels_to_who_asked_and_to_nobody_else(twin: Twin) -> None:
    twin(
        _BUILD
        + """
model = bytes.fromhex(args[0])
for verbosity in (None, "NONE", "LAYER_NAMES_ONLY"):
    assert build(model, verbosity) is not None and told() == []
    assert any("Total Activation Memory" in text for _, text in logger.records)
build(model, "DETAILED")
(text,) = told()
assert "[ONNX Layer: only]" in text
severity = next(s for s, text in logger.records if text.startswith("Layers:"))
assert severity == int(trt.ILogger.VERBOSE)
""",
        onnx_relu().hex(),
    ).clean()


def test_a_config_is_as_it_was_after_a_build_that_failed_too(twin: Twin) -> None:
    twin(
        _BUILD
        + """
def cannot(config):
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)  # there is no GPU to look at
assert build(bytes.fromhex(args[0]), "NONE", cannot) is None
""",
        onnx_relu().hex(),
    ).clean()


def _chain(layers: int, name: str = "relu") -> bytes:
    """Convolutions, which are kernels each, one after the other."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Conv", [f"t{i}", "w"], [f"t{i + 1}"], f"{name}{i}") for i in range(layers)]
    weights = numpy_helper.from_array(np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1), "w")
    ends = [helper.make_tensor_value_info(f"t{i}", TensorProto.FLOAT, (1, 8, 4, 4)) for i in (0, layers)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weights])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def test_a_long_trace_arrives_whole(twin: Twin, tmp_path: Path) -> None:
    """EfficientNet-Lite0's has 62 thousand characters in one record."""
    (tmp_path / "chain.onnx").write_bytes(_chain(60))
    twin(
        _BUILD
        + """
plan = build(open("chain.onnx", "rb").read(), "DETAILED")
(text,) = told()
assert len(text) > 50_000 and text.endswith("Disabled"), (len(text), text[-50:])
assert all(f"[ONNX Layer: relu{i}]" in text for i in range(60))
engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
assert engine.num_layers >= 60
"""
    ).clean()


def test_a_trace_is_not_crowded_out_by_other_records(monkeypatch: pytest.MonkeyPatch) -> None:
    from grader.twin import session as module

    monkeypatch.setattr(module, "_MOST_LOG_BYTES", 200)
    make = Maker(KEY)
    network = make.network()
    x = make.call(network, "add_input", "x", enum("DataType", "FLOAT"), (2, 3))
    make.call(network, "mark_output", make.call(make.call(network, "add_softmax", x), "get_output", 0))
    config = make.call(make.builder, "create_builder_config")
    make.set(config, "profiling_verbosity", enum("ProfilingVerbosity", "DETAILED"))
    make.call(make.builder, "build_serialized_network", network, config)
    texts = [text for _, text in make.session.records]
    assert sum(text.startswith("Layers:") for text in texts) == 1
    assert len(texts) < 20


def test_what_is_sealed_in_a_plan_does_not_depend_on_what_was_asked_for(plan_folder: Path) -> None:
    """The grader knows the kernels of a plan that tells its owner names alone."""
    plan = (plan_folder / "soft.plan").read_bytes()
    description = unseal(plan, KEY, trt.__version__).description
    assert description.verbosity == "LAYER_NAMES_ONLY"
    seen = TwinEngines(KEY).inspect(plan)
    assert seen.untold == ""
    assert seen.activation_bytes == description.traced.activation_bytes > 0
    assert len(seen.kernels) == len(description.traced.kernels) > 1
    assert all(isinstance(kernel, Kernel) and kernel.outputs for kernel in seen.kernels)
    assert seen.layers[0][1:] == ("SOFTMAX", "FLOAT")


def test_an_engine_whose_trace_could_not_be_read_says_so_and_runs(twin: Twin) -> None:
    twin("""
    builder = trt.Builder(LOGGER)
    network = builder.create_network(0)
    layer = network.add_softmax(network.add_input("x, Dimensions: [1]", trt.float32, (2, 3)))
    layer.get_output(0).name = "y"
    network.mark_output(layer.get_output(0))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    plan = builder.build_serialized_network(network, config)
    class Told(trt.ILogger):
        def __init__(self): trt.ILogger.__init__(self); self.texts = []
        def log(self, severity, msg): self.texts.append(msg)
    told = Told()
    engine = trt.Runtime(told).deserialize_cuda_engine(plan)
    assert engine.num_layers == 0 and engine.device_memory_size_v2 == 0
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    import json
    assert json.loads(text)["Layers"] == []
    assert any("knows no kernels" in text and "cannot be told" in text for text in told.texts), told.texts
    d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
    assert engine.create_execution_context().execute_v2([d_x, d_y])
    """).clean()


def test_memory_that_the_log_did_not_tell_is_not_guessed(plan_folder: Path, twin: Twin, tmp_path: Path) -> None:
    from dataclasses import replace

    from grader.twin.plan import Traced, seal

    opened = unseal((plan_folder / "soft.plan").read_bytes(), KEY, trt.__version__)
    told = replace(opened.description, traced=Traced(problem="a form that is not known"))
    (tmp_path / "odd.plan").write_bytes(seal(replace(opened, description=told), KEY))
    for ask in ("device_memory_size_v2", "create_execution_context_without_device_memory()"):
        outcome = twin(f"load('odd')[0].{ask}")
        assert outcome.type == "NotImplementedError"
        assert outcome.message.startswith("the twin does not know")
    seen = TwinEngines(KEY).inspect((tmp_path / "odd.plan").read_bytes())
    assert (seen.kernels, seen.activation_bytes, seen.untold) == ((), 0, "a form that is not known")


def test_inspections_survive_the_way_to_the_grader() -> None:
    """As the runner sends them: through JSON, which makes lists of tuples."""
    from dataclasses import asdict

    from grader.engines.interface import Inspection, Port, Tensor

    seen = Inspection(
        (Tensor("x", "FLOAT", (-1, 3), True, (((1, 3), (2, 3), (4, 3)),)),), (("l", "SOFTMAX", "FLOAT"),),
        (Kernel("k", "kgen", ("a", "b"), (Port("x", (-1, 3), "Float"),), (Port("y", (), "Half"),)),), 4096, "why",
    )  # fmt: skip
    assert Inspection.from_data(json.loads(json.dumps(asdict(seen)))) == seen
