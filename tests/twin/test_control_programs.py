"""Loops, conditionals and assertions in a candidate's program: made, built, inspected and run."""

from __future__ import annotations

import numpy as np

from tests.twin.harness import Twin

_START = """
builder = trt.Builder(LOGGER)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
config = builder.create_builder_config()
config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
profile = builder.create_optimization_profile()
kept = []

def constant(value, dtype):
    kept.append(np.array(value, dtype))
    return network.add_constant(kept[-1].shape, trt.Weights(kept[-1])).get_output(0)

def elementwise(a, b, how):
    return network.add_elementwise(a, b, getattr(trt.ElementWiseOperation, how)).get_output(0)

def engine_of(tensor):
    tensor.name = "y"
    network.mark_output(tensor)
    plan = builder.build_serialized_network(network, config)
    return trt.Runtime(LOGGER).deserialize_cuda_engine(plan)

def run(engine, x):
    context = engine.create_execution_context()
    context.set_input_shape("x", x.shape)
    stream, y = cuda.Stream(), pinned(np.empty(tuple(context.get_tensor_shape("y")), np.float32))
    fed, given = pinned(x), [cuda.mem_alloc(max(1, a.nbytes)) for a in (x, y)]
    for name, memory in zip("xy", given):
        context.set_tensor_address(name, int(memory))
    cuda.memcpy_htod_async(given[0], fed, stream)
    context.execute_async_v3(stream.handle)  # <here>
    cuda.memcpy_dtoh_async(y, given[1], stream)
    stream.synchronize()
    for memory in given:
        memory.free()
    return y.tolist()
"""

_LOOP = """
x = network.add_input("x", trt.float32, (-1, 2))
profile.set_shape("x", (1, 2), (3, 2), (9, 2))
config.add_optimization_profile(profile)
rows = network.add_gather(network.add_shape(x).get_output(0), constant(0, np.int32), 0).get_output(0)
loop = network.add_loop()
loop.name = "sums"
limit = loop.add_trip_limit(rows, trt.TripLimit.COUNT)
assert limit.loop.name == "sums" and limit.kind == trt.TripLimit.COUNT
row = loop.add_iterator(x)
assert row.axis == 0 and not row.reverse
sums = loop.add_recurrence(constant([0, 0], np.float32))
following = elementwise(sums.get_output(0), row.get_output(0), "SUM")
sums.set_input(1, following)
output = loop.add_loop_output(following, trt.LoopOutput.CONCATENATE)
output.set_input(1, rows)
bare = network.get_layer(network.num_layers - 1)
assert type(bare) is trt.ILayer and bare.type == trt.LayerType.LOOP_OUTPUT
bare.__class__ = trt.ILoopOutputLayer
assert bare.kind == trt.LoopOutput.CONCATENATE
engine = engine_of(output.get_output(0))
assert engine.num_layers > 0
return [run(engine, np.arange(2 * n, dtype=np.float32).reshape(n, 2)) for n in (1, 4)]
"""


def test_a_loop_runs_with_each_length(twin: Twin) -> None:
    outcome = twin(_START + _LOOP).clean()
    assert outcome.value == [np.arange(2 * n).reshape(n, 2).cumsum(0).tolist() for n in (1, 4)]


_WHILE = """
x = network.add_input("x", trt.float32, (2,))
loop = network.add_loop()
state = loop.add_recurrence(x)
state.set_input(1, elementwise(state.get_output(0), state.get_output(0), "SUM"))
total = network.add_reduce(state.get_output(0), trt.ReduceOperation.SUM, 1, False).get_output(0)
loop.add_trip_limit(elementwise(total, constant(100, np.float32), "LESS"), trt.TripLimit.WHILE)
engine = engine_of(loop.add_loop_output(state.get_output(0), trt.LoopOutput.LAST_VALUE).get_output(0))
told = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
assert '"cjmp"' in told, told
return [run(engine, np.array([v, 0], np.float32)) for v in args[0]]
"""


def test_a_loop_that_goes_on_while_a_condition_holds_and_its_jumps(twin: Twin) -> None:
    assert twin(_START + _WHILE, [3.0, 99.0, 100.0]).clean().value == [[192, 0], [198, 0], [100, 0]]


def test_a_loop_that_does_not_end_is_found(twin: Twin) -> None:
    twin(_START + _WHILE, [0.0]).found("execution", "before 100000 trips")


_ASSERTED = """
x = network.add_input("x", trt.float32, (-1, 2))
profile.set_shape("x", (1, 2), (3, 2), (9, 2))
config.add_optimization_profile(profile)
rows = network.add_gather(network.add_shape(x).get_output(0), constant(0, np.int32), 0).get_output(0)
network.add_assertion(elementwise(rows, constant(2, np.int64), "GREATER"), "three rows or more")
engine = engine_of(elementwise(x, x, "SUM"))
return run(engine, np.ones((args[0], 2), np.float32))
"""


def test_an_assertion_that_fails_is_found(twin: Twin) -> None:
    assert twin(_START + _ASSERTED, 3).clean().value == [[2, 2]] * 3
    twin(_START + _ASSERTED, 2).found("execution", "three rows or more")


def test_what_would_crash_the_builder_is_refused_before_it(twin: Twin) -> None:
    """TensorRT-RTX 1.7 crashes on a reverse iterator without a count."""
    outcome = twin(
        _START
        + """
x = network.add_input("x", trt.float32, (4, 2))
loop = network.add_loop()
row = loop.add_iterator(x, 0, True)
row.name = "backwards"
sums = loop.add_recurrence(constant([0, 0], np.float32))
sums.set_input(1, elementwise(sums.get_output(0), row.get_output(0), "SUM"))
going = loop.add_recurrence(constant(True, np.bool_))
going.set_input(1, constant(False, np.bool_))
loop.add_trip_limit(going.get_output(0), trt.TripLimit.WHILE)
engine_of(loop.add_loop_output(sums.get_output(0), trt.LoopOutput.LAST_VALUE).get_output(0))
"""
    )
    assert outcome.type == "NotImplementedError"
    assert "'backwards' (ITERATOR)" in outcome.message
