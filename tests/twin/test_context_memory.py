"""Execution contexts in memory of the caller's: what is legal works and computes right.

The mistakes are in `test_misuse.py`.
"""

from __future__ import annotations

import pytest

from tests.twin.context_memory_cases import SOFT
from tests.twin.harness import Twin

_EXPECTED = """
def soft(values, axis):
    powers = np.exp(values - values.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)
right = soft(soft(W, 0), 1)
def check(of):
    cuda.memcpy_dtoh(h_y, buffers[of][1])
    assert np.abs(h_y - right).max() < 1e-6, of
"""


@pytest.mark.parametrize(
    ("give", "order"),
    [
        ("each.set_device_memory(int(arena), needed)", "first.synchronize()"),
        (
            "each.set_device_memory(memory=int(arena), size=2 * needed)",
            "second.wait_for_event(cuda.Event().record(first))",
        ),
        ("each.device_memory = int(arena)", "second = first"),
    ],
    ids=["synchronize", "event", "one stream"],
)
def test_two_contexts_take_turns_in_one_buffer(twin: Twin, give: str, order: str) -> None:
    outcome = twin(f"""{SOFT}{_EXPECTED}
contexts = [context, take()]
for each in contexts:
    {give}
first, second = stream, other
assert contexts[0].execute_async_v3(first.handle)
{order}
assert contexts[1].execute_async_v3(second.handle)
first.synchronize()
second.synchronize()
check(0)
check(1)
return int(arena)
""").clean()
    assert [run["device_memory"] for run in outcome.runs] == [outcome.value, outcome.value]


def test_two_contexts_with_a_buffer_each_work_at_once(twin: Twin) -> None:
    twin(f"""{SOFT}{_EXPECTED}
second, more = take(), cuda.mem_alloc(needed)
context.set_device_memory(int(arena), needed)
second.set_device_memory(int(more), needed)
assert context.execute_async_v3(stream.handle) and second.execute_async_v3(other.handle)
stream.synchronize()
other.synchronize()
check(0)
check(1)
""").clean()


def test_one_allocation_holds_activation_memory_and_tensors_side_by_side(twin: Twin) -> None:
    twin(f"""{SOFT}{_EXPECTED}
start = (needed + 255) // 256 * 256
both = cuda.mem_alloc(start + W.nbytes)
context.set_device_memory(int(both), needed)
context.set_tensor_address("y", int(both) + start)
assert context.execute_async_v3(stream.handle)
stream.synchronize()
cuda.memcpy_dtoh(h_y, int(both) + start)
assert np.abs(h_y - right).max() < 1e-6
""").clean()


def test_memory_may_be_given_anew_between_runs_and_after_a_refusal(twin: Twin) -> None:
    outcome = twin(f"""{SOFT}{_EXPECTED}
context.set_device_memory(int(arena), needed - 1)  # <here>
assert not context.execute_v2([int(b) for b in buffers[0]])
context.set_device_memory(int(arena), needed)
assert context.execute_v2([int(b) for b in buffers[0]])
check(0)
new = cuda.mem_alloc(needed)
context.set_device_memory(int(new), needed)
arena.free()
assert context.execute_v2([int(b) for b in buffers[0]])
check(0)
""").found("too-small")
    assert outcome.kinds == ["too-small"], "a run that is refused for a known reason is no second finding"
    assert len(outcome.runs) == 2


def test_an_engine_that_needs_no_memory_runs_without(twin: Twin) -> None:
    """TensorRT's documentation: a null address is acceptable if the reported size is 0."""
    outcome = twin("""
    engine, _ = load()
    assert engine.device_memory_size_v2 == engine.device_memory_size == 0
    d_x, d_y = cuda.to_device(X), cuda.mem_alloc(24)
    for give in (lambda context: None, lambda context: context.set_device_memory(0, 0)):
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        give(context)
        assert context.execute_v2([d_x, d_y])
        assert np.array_equal(cuda.from_device_like(d_y, X), Y)
    """).clean()
    assert [run["device_memory"] for run in outcome.runs] == [0, 0]


def test_the_size_is_told_in_every_way(twin: Twin) -> None:
    twin(f"""{SOFT}  # lacking 8: it tells the size by one name
assert needed > 0
assert needed == engine.device_memory_size == engine.get_device_memory_size_for_profile_v2(0)
assert engine.get_device_memory_size_for_profile_v2(1) == engine.get_device_memory_size_for_profile(-1) == 0
assert needed == engine.get_device_memory_size_for_profile(0) == context.update_device_memory_size_for_shapes()
for strategy in ("STATIC", "ON_PROFILE_CHANGE"):
    own = engine.create_execution_context(getattr(trt.ExecutionContextAllocationStrategy, strategy))
    for name, memory in zip("xy", buffers[0]):
        own.set_tensor_address(name, int(memory))
    assert own.execute_async_v3(stream.handle)
    stream.synchronize()
    assert own.update_device_memory_size_for_shapes() == 0
try:
    context.device_memory
except AttributeError:
    pass
else:
    raise AssertionError("as TensorRT's, it cannot be read")
""").clean()


def test_what_is_no_address_is_a_type_error(twin: Twin) -> None:
    for call in (
        "context.set_device_memory(float(needed), needed)",
        "context.set_device_memory(int(arena), 'all')",
        "context.set_device_memory(-256, needed)",
        "context.set_device_memory(int(arena))",
        "setattr(context, 'device_memory', 'arena')",
        "setattr(context, 'device_memory', -256)",
    ):
        assert twin(f"{SOFT}\n{call}").type == "TypeError", call


def test_an_engine_that_wants_the_callers_memory_gives_no_other_context(twin: Twin) -> None:
    twin("""
    builder = trt.Builder(LOGGER)
    network = builder.create_network(0)
    layer = network.add_softmax(network.add_input("x", trt.float32, (2, 3)))
    network.mark_output(layer.get_output(0))
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # lacking 8: it has no such flag
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(builder.build_serialized_network(network, config))
    assert engine.create_execution_context() is None
    assert engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED) is not None
    assert engine.create_execution_context_without_device_memory() is not None
    """).clean()


_GRAPH = """
from capturing import GLOBAL, CudaError, cudart, ok
context.set_device_memory(int(arena), needed)
assert context.execute_async_v3(stream.handle)
stream.synchronize()
ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
assert context.execute_async_v3(stream.handle)
graph = ok(cudart.cudaGraphInstantiate(ok(cudart.cudaStreamEndCapture(stream.handle)), 0))
"""


def test_a_graph_runs_in_the_memory_that_its_context_was_given(twin: Twin) -> None:
    """And in no other, though the context has another by then."""
    outcome = twin(f"""{SOFT}{_EXPECTED}{_GRAPH}
other_arena = cuda.mem_alloc(needed)
context.set_device_memory(int(other_arena), needed)
ok(cudart.cudaGraphLaunch(graph, stream.handle))
stream.synchronize()
check(0)
return int(arena)
""")
    assert not outcome.type, outcome.trace
    assert [run["device_memory"] for run in outcome.runs] == [outcome.value] * 2


def test_a_graph_whose_context_memory_was_freed_is_refused(twin: Twin) -> None:
    twin(f"""{SOFT}{_GRAPH}
arena.free()
try:
    ok(cudart.cudaGraphLaunch(graph, stream.handle))  # <here>
except CudaError:
    pass
""").found("freed", "bytes allocated at")
