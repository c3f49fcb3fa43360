"""BF16 as a candidate's program meets it: weights given by their address, and bits where NumPy has no type."""

from __future__ import annotations

import pytest

from tests.twin.harness import Twin

_BUILD = """
def bits(values):
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)

builder = trt.Builder(LOGGER)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
x = network.add_input("x", trt.bfloat16, (2, 3))
factors = bits([1, 2, -0.5])
weights = trt.Weights(trt.bfloat16, factors.ctypes.data, 3)
made = network.add_constant((1, 3), weights)
layer = network.add_elementwise(x, made.get_output(0), trt.ElementWiseOperation.PROD)
layer.get_output(0).name = "y"
network.mark_output(layer.get_output(0))
plan = builder.build_serialized_network(network, builder.create_builder_config())
engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
assert engine.get_tensor_dtype("x") == engine.get_tensor_dtype("y") == trt.bfloat16
context = engine.create_execution_context()
d_y = cuda.mem_alloc(12)
"""


@pytest.mark.parametrize("view", ["np.uint16", "np.int16", "np.uint8"])
def test_a_program_gives_and_takes_the_bits(twin: Twin, view: str) -> None:
    program = f"""
    h_x = bits([[1, 2, 4], [-3, 0.25, 8]]).view({view})
    d_x = cuda.to_device(h_x)
    assert context.execute_v2([d_x, d_y])
    h_y = np.empty((2, 3), np.uint16)
    cuda.memcpy_dtoh(h_y, d_y)
    assert np.array_equal(h_y, bits([[1, 4, -2], [-3, 0.5, -4]])), h_y
    """
    twin(_BUILD + "\n".join(line[4:] for line in program.splitlines()) + "\n").clean()


#: As many bytes as the tensor has or more, but not BF16's.
@pytest.mark.parametrize("dtype", ["float16", "float32", "int32"])
def test_bytes_of_another_type_are_found(twin: Twin, dtype: str) -> None:
    program = f"""
d_x = cuda.to_device(np.ones((2, 3), np.{dtype}))
context.execute_v2([d_x, d_y])  # <here>
"""
    twin(_BUILD + program).found("dtype", "'x'", "bfloat16", dtype)


def test_an_output_read_as_another_type_is_found(twin: Twin) -> None:
    program = """
d_x = cuda.to_device(bits(np.ones((2, 3))))
context.execute_v2([d_x, d_y])
h_y = np.empty((2, 3), np.float16)
cuda.memcpy_dtoh(h_y, d_y)  # <here>
"""
    twin(_BUILD + program).found("dtype", "uint16", "float16")


def test_sixteen_bit_integers_are_no_floats(twin: Twin) -> None:
    """The bits' type is foreign to every tensor but BF16's."""
    program = """
engine, context = load("half")
d_x = cuda.to_device(np.ones((2, 3), np.uint16))
d_y = cuda.mem_alloc(12)
context.execute_v2([d_x, d_y])  # <here>
"""
    twin(program).found("dtype", "float16", "uint16")


def test_weights_that_numpy_cannot_hold_are_not_read_back(twin: Twin) -> None:
    outcome = twin(_BUILD + "made.weights\n")
    assert outcome.type == "NotImplementedError" and "weights of type BF16" in outcome.message
