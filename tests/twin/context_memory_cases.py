"""The mistakes with an execution context's own device memory, for `test_misuse.py`: see `misuse_cases.py`."""

from __future__ import annotations

from tests.twin.misuse_cases import Case

#: ``take`` makes a context that has no memory, with buffers of its own; ``arena`` is enough for one context.
SOFT = """
engine, _ = load("soft")
needed = engine.device_memory_size_v2
W = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
h_y = cuda.pagelocked_empty(W.shape, np.float32)
stream, other = cuda.Stream(1), cuda.Stream(1)
arena = cuda.mem_alloc(needed)
buffers = []
def take():
    context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    buffers.append((cuda.to_device(W), cuda.mem_alloc(W.nbytes)))
    assert all([context.set_tensor_address(name, int(memory)) for name, memory in zip("xy", buffers[-1])])
    return context
context = take()
"""

CONTEXT_MEMORY_CASES = [
    Case("context memory never given", "context-memory", ("device_memory_size_v2", "set_device_memory"), SOFT + """
        context.set_device_memory(int(arena), needed)  # right
        done = context.execute_async_v3(stream.handle)  # <here>
        assert done is False                            # wrong
        stream.synchronize()
    """, says="was created without device memory and none was given"),
    Case("context memory never given to the older method's context", "context-memory", ("none was given",), SOFT + """
        context = engine.create_execution_context_without_device_memory()
        for name, memory in zip("xy", buffers[0]):
            context.set_tensor_address(name, int(memory))
        context.device_memory = int(arena)        # right
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """),
    Case("a null address as context memory", "context-memory", ("null",), SOFT + """
        address = 0           # wrong
        address = int(arena)  # right
        context.set_device_memory(address, needed)  # <here>
        done = context.execute_async_v3(stream.handle)
        assert done is False  # wrong
        stream.synchronize()
    """, says="null"),
    Case("memory for a context that has its own", "context-memory", ("USER_MANAGED",), SOFT + """
        strategy = trt.ExecutionContextAllocationStrategy.STATIC        # wrong
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED  # right
        context = engine.create_execution_context(strategy)
        context.set_device_memory(int(arena), needed)  # <here>
    """, says="has device memory of its own"),
    Case("a size that is too small for the context", "too-small", ("bytes, but the engine needs",), SOFT + """
        size = needed - 1  # wrong
        size = needed      # right
        context.set_device_memory(int(arena), size)  # <here>
        done = context.execute_async_v3(stream.handle)
        assert done is False  # wrong
        stream.synchronize()
    """, says="but the engine needs"),
    Case("a buffer that is too small for the context", "too-small", ("the context's device memory", "needs"), SOFT + """
        arena = cuda.mem_alloc(needed - 256)  # wrong
        context.set_device_memory(int(arena), needed)
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError", "the context's device memory"),
    Case("a buffer that is too small and no size", "too-small", ("the context's device memory",), SOFT + """
        arena = cuda.mem_alloc(needed - 256)  # wrong
        context.device_memory = int(arena)
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("context memory that is not aligned", "alignment", ("256",), SOFT + """
        arena = cuda.mem_alloc(needed + 256)
        offset = 8    # wrong
        offset = 256  # right
        context.set_device_memory(int(arena) + offset, needed)  # <here>
        done = context.execute_async_v3(stream.handle)
        assert done is False  # wrong
        stream.synchronize()
    """, says="not a multiple of 256"),
    Case("context memory on the host", "address", ("the context's device memory", "not device memory"), SOFT + """
        host = cuda.pagelocked_empty(needed + 256, np.uint8)
        where = -(-host.ctypes.data // 256) * 256  # wrong
        where = int(arena)                         # right
        context.set_device_memory(where, needed)
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("context memory that was freed", "freed", ("the context's device memory", "was freed at answer.py"), SOFT + """
        context.set_device_memory(int(arena), needed)
        arena.free()  # wrong
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError", "freed"),
    Case("context memory freed while the context works", "freed", ("execute_async_v3", "still needs"), SOFT + """
        context.set_device_memory(int(arena), needed)
        context.execute_async_v3(stream.handle)
        stream.synchronize()  # right
        arena.free()  # <here>
        stream.synchronize()
    """),
    Case("two contexts in one buffer on two streams", "race", ("execute_async_v3", "bytes allocated at", "event"), SOFT
    + """
        second = take()
        for each in (context, second):
            each.set_device_memory(int(arena), needed)
        context.execute_async_v3(stream.handle)
        other.wait_for_event(cuda.Event().record(stream))  # right
        second.execute_async_v3(other.handle)  # <here>
        stream.synchronize()
        other.synchronize()
    """, "LogicError", also=("not-waited", "freed")),
    Case("two contexts in buffers that overlap", "race", ("execute_async_v3",), SOFT + """
        second = take()
        step = (needed + 255) // 256 * 256
        arena = cuda.mem_alloc(2 * step)
        context.set_device_memory(int(arena), needed)
        step -= 256  # wrong
        second.set_device_memory(int(arena) + step, needed)
        context.execute_async_v3(stream.handle)
        second.execute_async_v3(other.handle)  # <here>
        stream.synchronize()
        other.synchronize()
    """, "LogicError", also=("not-waited", "freed")),
    Case("one context on two streams with memory for each", "race", ("activation memory",), SOFT + """
        second = cuda.mem_alloc(needed)
        context.set_device_memory(int(arena), needed)
        context.execute_async_v3(stream.handle)
        stream.synchronize()  # right
        context.set_device_memory(int(second), needed)
        for name in "xy":
            context.set_tensor_address(name, int(take().get_tensor_address(name)))
        context.execute_async_v3(other.handle)  # <here>
        stream.synchronize()
        other.synchronize()
    """, "LogicError", also=("not-waited", "freed")),
    Case("a tensor in the context's memory", "race", ("'y'", "the context's device memory"), SOFT + """
        context.set_device_memory(int(arena), needed)
        context.set_tensor_address("y", int(arena))  # wrong
        context.execute_async_v3(stream.handle)  # <here>
        stream.synchronize()
    """, "LogicError"),
    Case("what a run left in the context's memory", "unwritten", ("bytes allocated at",), SOFT + """
        cuda.memset_d8(arena, 0, needed)
        context.set_device_memory(int(arena), needed)
        context.execute_v2([int(memory) for memory in buffers[0]])
        cuda.memset_d8(arena, 0, needed)  # right
        cuda.memcpy_dtoh(np.empty(needed, np.uint8), arena)  # <here>
    """),
    Case("what was in the context's memory before a run", "unwritten", ("bytes allocated at",), SOFT + """
        context.set_device_memory(int(arena), needed)
        cuda.memset_d8_async(arena, 0, needed, stream)
        context.execute_async_v3(stream.handle)
        cuda.memset_d8_async(arena, 0, needed, stream)  # right
        stream.synchronize()
        cuda.memcpy_dtoh(np.empty(needed, np.uint8), arena)  # <here>
    """),
    Case("context memory never freed", "leak", ("never freed",), SOFT + """
        import builtins
        builtins.kept = cuda.mem_alloc(needed)  # <here>
        context.set_device_memory(int(builtins.kept), needed)
        context.execute_async_v3(stream.handle)
        stream.synchronize()
        builtins.kept.free()  # right
    """),
]  # fmt: skip
