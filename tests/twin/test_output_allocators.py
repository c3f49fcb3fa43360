"""`IOutputAllocator`: outputs whose memory a callback of the candidate's gives, and what it may give."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.inside.trtprep_worker.addresses import DEVICE_START
from tests.twin.harness import Outcome, Twin
from tests.twin.raw_client import Client

_PRELUDE = """\
import numpy as np
import tensorrt as trt
import pycuda.driver as cuda
import pycuda.autoinit
from helpers import *

class Allocator(trt.IOutputAllocator):
    def __init__(self):
        trt.IOutputAllocator.__init__(self)
        self.memory, self.shapes, self.asked = {}, {}, []

    def give(self, name, size):
        if name not in self.memory or self.memory[name][1] < size:
            self.memory[name] = cuda.mem_alloc(size), size
        return int(self.memory[name][0])

    def notify_shape(self, tensor_name, shape):
        self.shapes[tensor_name] = tuple(shape)

class Plain(Allocator):
    def reallocate_output(self, tensor_name, memory, size, alignment):
        self.asked.append((tensor_name, memory, size, alignment))
        return self.give(tensor_name, size)

class Ordered(Allocator):
    def reallocate_output_async(self, tensor_name, memory, size, alignment, stream):
        self.asked.append((tensor_name, memory, size, alignment, stream))
        return self.give(tensor_name, size)

def ready(batch=2, name="batch"):
    engine, context = load(name)
    x = np.arange(-4, 4 * batch - 4, dtype=np.float32).reshape(batch, 4)
    d_x = cuda.to_device(x)
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", int(d_x))
    return engine, context, x, d_x, cuda.Stream()
"""


def _run(twin: Twin, body: str) -> Outcome:
    return twin(body, prelude=_PRELUDE)


@pytest.mark.parametrize("cls", ["Plain", "Ordered"])
def test_an_allocator_gives_the_memory_when_the_size_is_known(twin: Twin, cls: str) -> None:
    outcome = _run(
        twin,
        """
        engine, context, x, d_x, stream = ready()
        allocator = CLS()
        assert context.get_output_allocator("y") is None
        assert context.set_output_allocator("y", allocator) is True
        assert context.get_output_allocator("y") is allocator
        assert context.execute_async_v3(stream.handle) is True
        stream.synchronize()
        assert allocator.shapes == {"y": (2, 4)}
        assert allocator.asked[0][:4] == ("y", 0, 32, 256)
        assert allocator.asked[0][4:] in ((), (stream.handle,))
        y = cuda.from_device(allocator.memory["y"][0], allocator.shapes["y"], np.float32)
        assert np.array_equal(y, np.maximum(x, 0))
        # A larger batch needs more; what the allocator gave before was its own to free.
        more = np.full((4, 4), 3, np.float32)
        d_more = cuda.to_device(more)
        context.set_input_shape("x", (4, 4))
        context.set_tensor_address("x", int(d_more))
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert allocator.asked[1][2] == 64 and allocator.shapes["y"] == (4, 4)
        assert (cuda.from_device(allocator.memory["y"][0], (4, 4), np.float32) == 3).all()
        assert context.set_output_allocator("y", None)
        assert context.get_output_allocator("y") is None
        d_y = cuda.mem_alloc(64)
        context.set_tensor_address("y", int(d_y))
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert len(allocator.asked) == 2 and (cuda.from_device(d_y, (4, 4), np.float32) == 3).all()
    """.replace("CLS", cls),
    ).clean()
    assert len(outcome.runs) == 3


def test_the_address_that_was_set_is_offered_and_may_be_given(twin: Twin) -> None:
    _run(
        twin,
        """
        engine, context, x, d_x, stream = ready()
        d_y = cuda.mem_alloc(32)
        context.set_tensor_address("y", int(d_y))
        class Same(trt.IOutputAllocator):
            def reallocate_output(self, tensor_name, memory, size, alignment):
                return memory
            def notify_shape(self, tensor_name, shape):
                self.told = list(shape)
        same = Same()
        context.set_output_allocator("y", same)
        assert context.execute_async_v3(stream_handle=stream.handle)
        stream.synchronize()
        assert same.told == [2, 4]
        assert np.array_equal(cuda.from_device(d_y, (2, 4), np.float32), np.maximum(x, 0))
    """,
    ).clean()


def test_what_the_allocator_gives_goes_before_the_address_that_was_set(twin: Twin) -> None:
    _run(
        twin,
        """
        engine, context, x, d_x, stream = ready()
        d_y, allocator = cuda.mem_alloc(32), Plain()
        cuda.memcpy_htod(d_y, np.zeros(8, np.float32))
        context.set_tensor_address("y", int(d_y))
        context.set_output_allocator("y", allocator)
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert allocator.asked == [("y", int(d_y), 32, 256)]
        assert not cuda.from_device(d_y, (2, 4), np.float32, order="C").any()
        y = cuda.from_device(allocator.memory["y"][0], (2, 4), np.float32)
        assert np.array_equal(y, np.maximum(x, 0))
    """,
    ).clean()


def test_an_empty_output_is_asked_for_with_a_size(twin: Twin) -> None:
    """NvInferRuntime.h, `reallocateOutput`: the number of bytes is always positive, even for an empty tensor."""
    _run(
        twin,
        """
        builder = trt.Builder(LOGGER)
        network, config = builder.create_network(0), builder.create_builder_config()
        x = network.add_input("x", trt.float32, (-1, 4))
        network.mark_output(network.add_activation(x, trt.ActivationType.RELU).get_output(0))
        network.get_output(0).name = "y"
        profile = builder.create_optimization_profile()
        profile.set_shape("x", (0, 4), (2, 4), (4, 4))
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        context = trt.Runtime(LOGGER).deserialize_cuda_engine(plan).create_execution_context()
        context.set_input_shape("x", (0, 4))
        d_x, stream, allocator = cuda.mem_alloc(4), cuda.Stream(), Plain()
        context.set_tensor_address("x", int(d_x))
        context.set_output_allocator("y", allocator)
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert allocator.asked[0][2] == 1 and allocator.shapes["y"] == (0, 4)
    """,
    ).clean()


_BAD = """
engine, context, x, d_x, stream = ready()
d_y, small = cuda.mem_alloc(32), cuda.mem_alloc(16)
class Bad(trt.IOutputAllocator):
    def __init__(self): trt.IOutputAllocator.__init__(self)
    def reallocate_output(self, tensor_name, memory, size, alignment):
        {gives}
    def notify_shape(self, tensor_name, shape): print("told")
allocator = Bad()
context.set_output_allocator("y", allocator)
print("answer:", context.execute_async_v3(stream.handle))  # <here>
stream.synchronize()
"""


@pytest.mark.parametrize(
    ("gives", "kind", "words", "error"),
    [
        ("return None", "no-address", "gave no memory", ""),
        ("return 0", "no-address", "gave no memory", ""),
        ("pass", "no-address", "gave no memory", ""),
        ("raise ValueError('none left')", "no-address", "gave no memory", ""),
        ("return 'text'", "no-address", "gave no memory", ""),
        ("return int(small)", "too-small", "needs 32 bytes", "LogicError"),
        ("return x.ctypes.data", "address", "not device memory", "LogicError"),
        ("small.free(); return int(small)", "freed", "was freed", "LogicError"),
        ("return int(d_x)", "race", "share", "LogicError"),
        ("return int(d_y) + 4", "alignment", "not a multiple of 256", "LogicError"),
    ],
)
def test_what_an_allocator_gives_is_checked(twin: Twin, gives: str, kind: str, words: str, error: str) -> None:
    outcome = _run(twin, _BAD.format(gives=gives)).found(kind, words)
    assert outcome.type == error, outcome.trace
    assert "told" not in outcome.printed
    assert outcome.runs == ()
    if not error:
        assert "answer: False" in outcome.printed


def test_what_is_refused(twin: Twin) -> None:
    outcome = _run(
        twin,
        """
        engine, context, x, d_x, stream = ready()
        try:
            context.set_output_allocator("y", object())
        except TypeError as error:
            assert "IOutputAllocator" in str(error)
        assert context.set_output_allocator("x", Plain()) is False
        assert context.set_output_allocator("no", Plain()) is False  # <here>
        assert context.execute_async_v3(stream.handle) is False
    """,
    )
    outcome.found("tensor-name", "no tensor is named 'no'")
    assert outcome.type == ""


def test_an_allocator_that_is_kept_in_a_context_goes_with_it(twin: Twin) -> None:
    """Its memory is no leak: a context lets go of its allocators."""
    _run(
        twin,
        """
        engine, context, x, d_x, stream = ready()
        context.set_output_allocator("y", Plain())
        context.execute_async_v3(stream.handle)
        stream.synchronize()
    """,
    ).clean()


def test_memory_that_an_allocator_frees_while_the_run_is_pending_is_named(twin: Twin) -> None:
    _run(
        twin,
        """
        engine, context, x, d_x, stream = ready()
        allocator = Plain()
        context.set_output_allocator("y", allocator)
        context.execute_async_v3(stream.handle)  # <here>
        allocator.memory.clear()
        stream.synchronize()
    """,
    ).found("freed", "let go")


def test_a_client_cannot_go_around_its_allocators(plan_folder: Path) -> None:
    """Addresses for tensors without an allocator, or none for those with one: an error, and no run."""
    client = Client((plan_folder / "relu.plan").read_bytes())
    at = client.cuda("mem_alloc", 24)
    client.cuda("memcpy_htod", at, bytes(24), "float32")
    client.call("context", "set_tensor_address", "x", at)
    assert "no output allocator" in client.call_error("context", "execute_async_v3", 0, [("y", at)])
    assert client.call("context", "set_output_allocator", "y", True) is True
    assert client.call("context", "plan_outputs", 0) == [["y", 0, 24, [2, 3]]]
    for odd in ([], [("x", at)], [("y", -1)], [("y", "0")], [("y", None)], ["y"], [1], "yy", [("y", at, at)], None):
        assert "Error" in client.call_error("context", "execute_async_v3", 0, odd), odd
    assert "Misuse" in client.call_error("context", "execute_async_v3", 0, [("y", DEVICE_START - 256)])
    for odd in (None, -1, "0", [0]):
        assert client.call_error("context", "plan_outputs", odd).startswith(("TypeError", "Misuse", "ValueError")), odd
    assert client.device.control({"do": "audit"})["runs"] == []
