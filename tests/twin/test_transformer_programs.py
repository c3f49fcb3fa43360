"""Attention as a candidate's program asks for it: what `add_attention_v2` gives is no layer."""

from __future__ import annotations

from tests.twin.harness import Twin

_PROGRAM = """
builder = trt.Builder(LOGGER)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
q, k, v = (network.add_input(name, trt.float32, (1, 1, 2, 2)) for name in "qkv")
made = network.add_attention_v2(q, k, v, trt.AttentionNormalizationOp.SOFTMAX, trt.CausalMaskKind.UPPER_LEFT)
made.decomposable = True
assert made.decomposable and made.causal_kind == trt.CausalMaskKind.UPPER_LEFT and made.num_inputs == 3
made.get_output(0).name = "y"
network.mark_output(made.get_output(0))
plan = builder.build_serialized_network(network, builder.create_builder_config())
context = trt.Runtime(LOGGER).deserialize_cuda_engine(plan).create_execution_context()
like = np.array([[[[0, 0], [0, 0]]]], np.float32)
values = np.array([[[[1, 2], [3, 6]]]], np.float32)
buffers = [cuda.to_device(a) for a in (like, like, values)] + [cuda.mem_alloc(16)]
assert context.execute_v2(buffers)
y = cuda.from_device_like(buffers[-1], like)
assert np.allclose(y, [[[[1, 2], [2, 4]]]]), y  # the first token sees itself alone, the second both alike
"""


def test_a_program_with_attention(twin: Twin) -> None:
    twin(_PROGRAM).clean()
