"""Legal programs that build: networks made in every way, plans kept, parsers' errors and loggers."""

from __future__ import annotations

import pytest

from tests.twin.harness import Twin
from tests.twin.plans import onnx_relu

_BUILD = """
builder = trt.Builder(LOGGER)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
{network}
config = builder.create_builder_config()
config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 20)
plan = builder.build_serialized_network(network, config)
assert plan is not None and plan.nbytes > 100
with open("made.plan", "wb") as file:
    file.write(plan)
assert open("made.plan", "rb").read() == bytes(plan) == bytes(memoryview(plan))
engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
context = engine.create_execution_context()
d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
assert context.execute_v2([d_x, d_y])
y = cuda.from_device_like(d_y, X)
"""
_API = """
x = network.add_input("x", trt.float32, (2, 3))
w = network.add_constant((1, 3), trt.Weights(np.array([1, 2, 3], np.float32))).get_output(0)
layer = network.add_elementwise(x, w, trt.ElementWiseOperation.PROD)
layer.name = "times"
assert network.get_layer(1).name == "times" and network.get_input(0) == x
network.get_layer(0)  # a second handle of a layer may go without harm to the first
layer.get_output(0).name = "y"
network.mark_output(layer.get_output(0))
"""
_PARSER = """
parser = trt.OnnxParser(network, LOGGER)
assert parser.parse(bytes.fromhex(args[0])), parser.get_error(0)
"""
_BOTH = """
tail = network.add_activation(network.get_output(0), trt.ActivationType.CLIP)
tail.alpha, tail.beta = 0, 4.5
network.unmark_output(network.get_output(0))
network.mark_output(tail.get_output(0))
"""


@pytest.mark.parametrize(
    ("network", "check"),
    [
        (_API, "np.array_equal(y, X * [1, 2, 3])"),
        (_PARSER, "np.array_equal(y, Y)"),
        (_PARSER + _BOTH, "np.array_equal(y, Y.clip(0, 4.5))"),
    ],
    ids=["api", "parser", "both"],
)
def test_networks_built_in_each_way(twin: Twin, network: str, check: str) -> None:
    outcome = twin(_BUILD.format(network=network) + f"assert {check}, y\n", onnx_relu().hex()).clean()
    assert outcome.builds == 1


def test_a_plan_lives_on_in_another_session(twin: Twin) -> None:
    twin(_BUILD.format(network=_PARSER), onnx_relu().hex()).clean()
    twin("""
    engine, context = load("made")
    d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
    context.execute_v2([d_x, d_y])
    assert np.array_equal(cuda.from_device_like(d_y, X), Y)
    again = trt.Runtime(LOGGER).deserialize_cuda_engine(engine.serialize())
    assert again.num_io_tensors == 2
    """).clean()


def test_dynamic_shapes_with_a_profile(twin: Twin) -> None:
    twin(
        """
    builder = trt.Builder(LOGGER)
    network = builder.create_network(0)
    with open("model.onnx", "wb") as file:
        file.write(bytes.fromhex(args[0]))
    parser = trt.OnnxParser(network, LOGGER)
    assert parser.parse_from_file("model.onnx")
    assert tuple(network.get_input(0).shape) == (-1, 3)
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 3), (2, 3), max=(4, 3))
    config = builder.create_builder_config()
    assert config.add_optimization_profile(profile) == 0
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(builder.build_serialized_network(network, config))
    context = engine.create_execution_context()
    assert context.infer_shapes() == ["x"] and not context.all_binding_shapes_specified
    assert context.set_input_shape("x", X.shape)
    d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
    assert context.execute_v2([d_x, d_y])
    """,
        onnx_relu(("n", 3)).hex(),
    ).clean()


def test_weights_in_a_file_of_their_own_are_read_by_parse_from_file(twin: Twin) -> None:
    twin("""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    w = numpy_helper.from_array(np.full((2, 3), 2, np.float32), "w")
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (2, 3)) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", info[:1], info[1:], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, "big.onnx", save_as_external_data=True, location="big.bin", size_threshold=0)
    builder = trt.Builder(LOGGER)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, LOGGER).parse_from_file("big.onnx")
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
    d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
    assert engine.create_execution_context().execute_v2([d_x, d_y])
    assert np.array_equal(cuda.from_device_like(d_y, X), 2 * X)
    """).clean()


def test_a_parsers_errors_can_be_read(twin: Twin) -> None:
    outcome = twin(
        """
    network = trt.Builder(LOGGER).create_network(0)
    parser = trt.OnnxParser(network, LOGGER)
    assert not parser.parse(bytes.fromhex(args[0]))
    found = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert found and parser.get_error(0).node() == 0
    parser.clear_errors()
    assert parser.num_errors == 0
    for bad in (b"", b"not a model", bytes.fromhex(args[0])[:20]):
        fresh = trt.OnnxParser(network, LOGGER)
        assert not fresh.parse(bad) or bad == b""
    missing = trt.OnnxParser(network, LOGGER)
    assert not missing.parse_from_file("nowhere.onnx")
    return found
    """,
        onnx_relu(op="NoSuchOperator").hex(),
    ).clean()
    assert "Plugin not found" in outcome.value[0]
    assert "nowhere.onnx" in outcome.printed


def test_a_logger_of_ones_own_gets_the_records(twin: Twin) -> None:
    twin("""
    class Mine(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.records = []
        def log(self, severity, msg):
            self.records.append((severity, msg))
    mine = Mine()
    runtime = trt.Runtime(mine)
    assert runtime.logger is mine
    assert runtime.deserialize_cuda_engine(b"no plan") is None
    assert any(s == trt.ILogger.ERROR and "plan" in m for s, m in mine.records), mine.records
    """).clean()
