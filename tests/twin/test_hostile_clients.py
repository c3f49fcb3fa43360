"""Clients that send anything at all: at most an error comes back, and the grader can always ask."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grader.inside.trtprep_worker import wire
from grader.inside.trtprep_worker.addresses import DEVICE_START
from grader.twin.device import Device
from grader.twin.driver import COMMANDS
from tests.twin.harness import KEY, RawDevice, Twin
from tests.twin.plans import enum, onnx_relu
from tests.twin.raw_client import INNER, PRIVATE, REAL, TWINS, Client


def _random_value(source: random.Random, client: Client, depth: int = 0) -> Any:
    some: list[Callable[[], Any]] = [
        lambda: None,
        lambda: True,
        lambda: source.randrange(-3, 20),
        lambda: source.choice((1 << 31, 1 << 63, -(1 << 63), 1 << 70)),
        lambda: source.random(),
        lambda: float("nan"),
        lambda: source.choice(("", "x", "y", "name", "float32", "\ud800")),
        lambda: source.randbytes(source.randrange(40)),
        lambda: np.zeros(source.choice(((), (0,), (2, 3))), np.float32),
        lambda: client.objects[source.choice([*TWINS, *REAL])],
        lambda: {"@": source.choice(("object", "enum", "dims", "weights", 3))},
        lambda: {"@": "dims", "values": [source.randrange(-2, 5)] * source.randrange(10)},
        lambda: enum("DataType", "FLOAT"),
        lambda: {"@": "weights", "dtype": "FLOAT", "data": source.randbytes(8)},
        lambda: DEVICE_START + source.randrange(5000),
    ]
    if depth < 3:
        some.append(lambda: [_random_value(source, client, depth + 1) for _ in range(source.randrange(4))])
        some.append(lambda: {"k": _random_value(source, client, depth + 1)})
    return source.choice(some)()


def test_random_requests_never_get_more_than_an_error(client: Client) -> None:
    """Requests that are malformed in part or as a whole, to the device's own objects: at most an error comes back."""
    source = random.Random(20250101)
    names = [
        *COMMANDS,
        *PRIVATE,
        *INNER,
        "name",
        "execute_v2",
        "set_input_shape",
        "set_tensor_address",
        "get_tensor_shape",
        "execute_async_v3",
        "get_tensor_name",
        "deserialize_cuda_engine",
        "get_layer_information",
        "get_engine_information",
        "__getitem__",
        "set_device_memory",
        "set_output_allocator",
        "plan_outputs",
        "set_shape_values",
        "set_input_consumed_event",
        "host_tensors",
        "get_tensor_profile_values",
        "device_memory",
        "device_memory_size_v2",
        "update_device_memory_size_for_shapes",
        "get_device_memory_size_for_profile",
        "create_execution_context",
        "create_execution_context_without_device_memory",
    ]
    twins = [client.objects[name]["id"] for name in TWINS]
    for _ in range(3000):
        value = lambda: _random_value(source, client)  # noqa: E731
        request = {
            "do": source.choice(("new", "call", "get", "set", "cuda", "release", "cuda", "call", value())),
            "name": source.choice((source.choice(names), value())),
            "id": source.choice((*twins, value())) if source.random() < 0.9 else value(),
            "args": [value() for _ in range(source.randrange(5))] if source.random() < 0.95 else value(),
            "kwargs": {} if source.random() < 0.9 else value(),
            "class": source.choice(("Builder", "Runtime", "Refitter", value())),
            "value": value(),
            "line": source.choice(("a.py:1", value())),
            "thread": source.choice((0, value())),
        }
        if type(request["id"]) is int and request["id"] not in twins:
            request["id"] = source.choice(twins)  # TensorRT's own objects have a test of their own
        for key in list(request):
            if source.random() < 0.05:
                del request[key]
        client.device.serve(request)
    for request in (None, 3, [], "text", b"", np.zeros(3), {"do": None}, {"do": ["new"]}, {"do": {}}, {}):
        assert "error" in wire.unpack(*client.device.serve(request))
    wire.pack(client.device.control({"do": "audit"}))


@pytest.mark.parametrize("seed", range(3))
def test_random_calls_to_tensorrts_objects_do_not_end_the_device(
    raw_device: Callable[..., RawDevice], seed: int
) -> None:
    """In a process of its own, for a crash of the library would take the tests with it."""
    source, device = random.Random(seed), raw_device()
    builder = device.ask({"do": "new", "class": "Builder", "args": []})["value"]
    call = lambda target, name, *args: device.ask(  # noqa: E731
        {"do": "call", "id": target["id"], "name": name, "args": list(args), "kwargs": {}}
    )
    network = call(builder, "create_network", 0)["value"]
    made = {
        "builder": builder,
        "network": network,
        "config": call(builder, "create_builder_config")["value"],
        "profile": call(builder, "create_optimization_profile")["value"],
        "tensor": call(network, "add_input", "x", enum("DataType", "FLOAT"), (2, 3))["value"],
        "parser": device.ask({"do": "new", "class": "OnnxParser", "args": [network]})["value"],
    }
    safe = {
        "network": [
            "add_identity",
            "add_softmax",
            "add_shuffle",
            "get_layer",
            "get_input",
            "get_output",
            "mark_output",
            "add_input",
            "add_constant",
        ],
        "builder": ["create_network", "create_builder_config", "create_optimization_profile", "is_network_supported"],
        "config": [
            "add_optimization_profile",
            "set_memory_pool_limit",
            "get_memory_pool_limit",
            "set_flag",
            "clear_flag",
            "reset",
        ],
        "profile": ["set_shape", "get_shape", "get_shape_input"],
        "tensor": ["set_dimension_name", "get_dimension_name"],
        "parser": ["parse", "get_error", "clear_errors", "supports_operator", "supports_model_v2", "get_flag"],
    }
    values: list[Any] = [
        0,
        1,
        -1,
        1 << 40,
        "x",
        "",
        b"bytes",
        None,
        (2, 3),
        (-1,),
        {"@": "dims", "values": [1, 2]},
        enum("DataType", "HALF"),
        enum("BuilderFlag", "TF32"),
        np.zeros((2, 3), np.float32),
        onnx_relu(),
        *made.values(),
    ]
    for _ in range(200):
        target = source.choice(list(safe))
        reply = call(
            made[target], source.choice(safe[target]), *(source.choice(values) for _ in range(source.randrange(4)))
        )
        assert ("value" in reply) != ("error" in reply)
    assert device.control("audit")["builds"] == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 64,
        struct.pack("<III", 2, 0, 0) + b"{]",
        struct.pack("<III", 4, 0, 0) + b"null",
        struct.pack("<III", 30, 0, 0) + b"half",
    ],
    ids=["huge", "no-json", "no-request", "half"],
)
def test_a_client_that_breaks_the_format_does_not_keep_the_grader_from_asking(
    raw_device: Callable[..., RawDevice], data: bytes
) -> None:
    device = raw_device()
    device.client.sendall(data)
    device.client.shutdown(socket.SHUT_WR)
    assert device.control("begin") == {}
    audit = device.control("audit")
    assert audit["findings"] == []


def test_a_client_that_stops_in_the_middle_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from grader.twin import device as module

    monkeypatch.setattr(module, "_STALLED_S", 0.2)
    client, theirs = socket.socketpair()
    control, ours = socket.socketpair()
    server = threading.Thread(target=module.serve, args=(Device(KEY), theirs, ours))
    server.start()
    client.sendall(b"\x10")
    wire.send(control, {"do": "audit"})
    assert wire.receive(control)["builds"] == 0
    control.close()
    server.join(10)
    assert not server.is_alive()
    client.close()


_ODD = (None, -1, 1 << 64, 1 << 70, 1.5, float("nan"), "0", b"0", [1], True, {"@": "dims", "values": [1]})


def test_context_memory_takes_addresses_and_nothing_else(plan_folder: Path) -> None:
    """Whatever is given as memory: an error comes back, or a finding at the run; the device does not write there."""
    client = Client((plan_folder / "soft.plan").read_bytes())
    made, strategy = client.objects, enum("ExecutionContextAllocationStrategy", "USER_MANAGED")
    made["context"] = client.call("engine", "create_execution_context", strategy)
    for odd in (*_ODD, made["tensor"], made["context"], strategy):
        assert "TypeError" in client.call_error("context", "set_device_memory", odd, 1 << 20)
        if odd is not True:  # an integer to Python, and an address that is not aligned
            error = client.error(do="set", id=made["context"]["id"], name="device_memory", value=odd)
            assert "TypeError" in error
    assert "AttributeError" in client.error(do="get", id=made["context"]["id"], name="device_memory")
    for odd in _ODD:
        assert "TypeError" in client.call_error("context", "set_device_memory", DEVICE_START, odd)
    for odd in (*_ODD, made["tensor"], enum("DataType", "FLOAT")):
        assert "Error" in client.call_error("engine", "create_execution_context", odd)
    bindings = [client.cuda("mem_alloc", 1 << 20) for _ in "xy"]
    client.cuda("memcpy_htod", bindings[0], bytes(64 * 64 * 4), "float32")
    end = (1 << 64) - 256
    for address in (256, end, bindings[1] + (1 << 20) - 256, DEVICE_START - 256):
        client.call("context", "set_device_memory", address, 1 << 40)
        error = client.call_error("context", "execute_v2", bindings)
        assert error.startswith("Misuse: the context's device memory"), error
    assert client.call("context", "set_device_memory", bindings[1], 1 << 40) is None
    assert "share" in client.call_error("context", "execute_v2", bindings)
    assert client.device.control({"do": "audit"})["runs"] == []


def test_a_config_is_set_to_what_it_takes_and_nothing_else(client: Client) -> None:
    config = client.objects["config"]
    for odd in (*_ODD, config, enum("DataType", "FLOAT")):
        request = {"do": "set", "id": config["id"], "name": "hardware_compatibility_level", "value": odd}
        assert "TypeError" in client.error(**request) or "ValueError" in client.error(**request)
        assert "Error" in client.call_error("config", "set_memory_pool_limit", odd, 1 << 20)
        if odd is not None:  # for which TensorRT has answers of its own
            assert "Error" in client.call_error("config", "add_optimization_profile", odd)
            assert "Error" in client.call_error("config", "set_timing_cache", odd, False)
    assert "Error" in client.call_error("config", "set_memory_pool_limit", enum("MemoryPoolType", "WORKSPACE"), 1 << 70)
    assert client.call("builder", "build_serialized_network", client.objects["network"], config) is None
    (told,) = client.device.control({"do": "audit"})["failed_configs"]
    assert (told["workspace"], told["hardware_compatibility_level"], told["profiles"]) == (None, "NONE", [])


def test_a_program_cannot_take_the_graders_part(twin: Twin) -> None:
    """The descriptor that it has is the client's: `begin` there does not clear what was found."""
    outcome = twin("""
        from trtprep_worker.device_link import connect
        cuda.memcpy_dtoh(np.empty(6, np.float32), cuda.mem_alloc(24))  # <here>
        for do in ("begin", "audit"):
            try:
                connect().request(do)
            except ValueError as error:
                assert "unknown command" in str(error)
            else:
                raise AssertionError(do)
    """)
    outcome.found("unwritten")
    assert not outcome.type, outcome.trace


def test_a_plan_behaves_like_host_memory(twin: Twin) -> None:
    twin(
        """
        builder = trt.Builder(LOGGER)
        network = builder.create_network(0)
        assert trt.OnnxParser(network, LOGGER).parse(bytes.fromhex(args[0]))
        plan = builder.build_serialized_network(network, builder.create_builder_config())
        for wrong in (lambda: len(plan), lambda: plan[:10], lambda: plan + b"", lambda: list(plan), lambda: plan.hex()):
            try:
                wrong()
            except (TypeError, AttributeError):
                continue
            raise AssertionError("more than TensorRT's has")
        assert plan.nbytes == len(bytes(plan)) == memoryview(plan).nbytes and plan.dtype == trt.int8
    """,
        onnx_relu().hex(),
    ).clean()


def test_what_would_call_back_says_so(twin: Twin) -> None:
    outcome = twin("""
        class Mine(trt.IProfiler):
            def __init__(self): trt.IProfiler.__init__(self)
        load()[1].profiler = Mine()
    """)
    assert outcome.type == "NotImplementedError"
    assert outcome.message.startswith("the twin")


def test_misspelt_names_are_attribute_errors(twin: Twin) -> None:
    for body in (
        "load()[1].execute_async_v9(0)",
        "load()[0].num_bindings",
        "trt.Bulider",
        "cuda.memcpy_htod_asynch",
        "load()[1].nme = ''",
    ):
        outcome = twin(body)
        if "nme" not in body:  # as in Python itself, a proxy takes new attributes
            assert outcome.type == "AttributeError", outcome
