"""The device against clients that are not ours: they reach nothing that is not theirs, and never end it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from grader.inside.trtprep_worker import wire
from grader.twin.driver import COMMANDS, Driver
from grader.twin.executor import ExecutionError, Executor
from grader.twin.names import REFUSED
from tests.twin.harness import KEY
from tests.twin.plans import Maker, all_plans, enum, onnx_relu
from tests.twin.raw_client import INNER, PRIVATE, REAL, TWINS, Client


@pytest.mark.parametrize("target", [*TWINS, *REAL])
def test_private_and_unknown_names_are_out_of_reach(client: Client, target: str) -> None:
    handle = client.objects[target]["id"]
    for name in PRIVATE + (INNER if target in TWINS else []):
        for request in (
            {"do": "get", "name": name},
            {"do": "set", "name": name, "value": 1},
            {"do": "call", "name": name, "args": [], "kwargs": {}},
        ):
            error = client.error(id=handle, **request)
            assert error.startswith(("AttributeError", "TypeError")), (name, error)


@pytest.mark.parametrize("target", [*TWINS, *REAL])
def test_callbacks_files_and_pointers_are_refused(client: Client, target: str) -> None:
    handle = client.objects[target]["id"]
    for name in REFUSED:
        for request in (
            {"do": "get", "name": name},
            {"do": "set", "name": name, "value": None},
            {"do": "call", "name": name, "args": ["/etc/passwd"], "kwargs": {}},
        ):
            assert client.error(id=handle, **request).startswith(("NotImplementedError: the twin", "AttributeError")), (
                name
            )


def test_methods_cannot_be_fetched_nor_properties_called(client: Client) -> None:
    for target, method, value in (
        ("builder", "create_network", "max_threads"),
        ("engine", "serialize", "num_io_tensors"),
    ):
        handle = client.objects[target]["id"]
        assert "AttributeError" in client.error(do="get", id=handle, name=method)
        assert "AttributeError" in client.error(do="call", id=handle, name=value, args=[], kwargs={})
        assert "AttributeError" in client.error(do="set", id=handle, name=method, value=1)
    assert client.value(do="get", id=client.objects["engine"]["id"], name="num_io_tensors") == 2


def test_only_commands_of_the_driver_can_be_named(client: Client) -> None:
    public = {name for name in dir(Driver) if not name.startswith("_")}
    for name in (public - COMMANDS) | {
        "__init__",
        "__class__",
        "_now",
        "memory",
        "findings",
        "audit",
        "",
        "mem_alloc\0",
    }:
        assert client.error(do="cuda", name=name, args=[]).startswith("ValueError: unknown CUDA command"), name
    assert public >= COMMANDS


def test_the_graders_commands_are_not_the_clients(client: Client) -> None:
    before = client.device.driver.findings
    client.cuda("host_misuse", "pageable", "noted")
    for do in ("begin", "audit", "control", "serve", "key", "__init__"):
        assert client.error(do=do).startswith("ValueError: unknown command")
    assert [f.kind for f in before] == ["pageable"]
    assert client.error(do="cuda", name="host_misuse", args=["no such kind", ""]).startswith("ValueError")


@pytest.mark.parametrize("handle", [0, -1, 10**9, 1 << 70, "1", None, 1.0, True, [1]])
def test_unknown_handles(client: Client, handle: Any) -> None:
    for request in ({"do": "get", "name": "name"}, {"do": "call", "name": "reset", "args": [], "kwargs": {}}):
        assert "ValueError" in client.error(id=handle, **request)
    assert "Error" in client.call_error(
        "builder", "build_serialized_network", {"@": "object", "id": handle}, client.objects["config"]
    )


def test_handles_of_the_wrong_class(client: Client) -> None:
    made = client.objects
    for wrong in ("config", "engine", "context", "runtime", "tensor"):
        assert "TypeError" in client.call_error("builder", "build_serialized_network", made[wrong], made["config"])
        assert "Error" in client.call_error("network", "add_activation", made[wrong], made[wrong])
        assert "TypeError" in client.call_error("runtime", "deserialize_cuda_engine", made[wrong])
        assert "TypeError" in client.error(do="new", args=[made[wrong]], **{"class": "OnnxParser"})
    assert "TypeError" in client.error(
        do="set", id=made["inspector"]["id"], name="execution_context", value=made["engine"]
    )
    assert "TypeError" in client.call_error("context", "set_tensor_address", "x", made["tensor"])
    assert "Error" in client.call_error("config", "add_optimization_profile", made["config"])


def test_what_cannot_be_made(client: Client) -> None:
    for cls in ("Refitter", "Logger", "Weights", "Session", "__builtins__", "ICudaEngine", ""):
        assert client.error(do="new", args=[], **{"class": cls}).startswith("NotImplementedError: the twin")


def test_a_handle_lives_as_long_as_one_holder_of_it(client: Client) -> None:
    network = client.objects["network"]["id"]
    first, second = (client.call("network", "get_input", 0)["id"] for _ in range(2))
    assert first == second == client.objects["tensor"]["id"]
    client.value(do="release", release=[first, second])
    assert client.value(do="get", id=first, name="name") == "x"
    client.value(do="release", release=[first])
    assert "ValueError" in client.error(do="get", id=first, name="name")
    client.value(do="release", release=[first, first, -1, network, network])


def test_a_network_that_was_released_does_not_go_under_its_parser(client: Client) -> None:
    client.value(do="release", release=[client.objects["network"]["id"]])
    assert client.call("parser", "parse", onnx_relu()) in (True, False)


def test_a_client_cannot_seal_a_plan(client: Client, plan_folder: Any) -> None:
    """What `serialize` gives is what was loaded, and what was loaded was sealed with the run's key."""
    plan = (plan_folder / "relu.plan").read_bytes()
    assert client.call("engine", "serialize")["data"] == plan
    for forged in (plan[:-1] + b"x", plan + plan, b"", b"trtprep-twin", all_plans(b"my own key")["relu"]):
        assert client.call("runtime", "deserialize_cuda_engine", forged) is None
    for wrong in (None, 3, "text", [plan], np.frombuffer(plan, np.uint8)):
        assert "TypeError" in client.call_error("runtime", "deserialize_cuda_engine", wrong)
    forms = ({"@": "host_memory", "data": plan}, {"@": "world"}, {"data": plan}, {"@": None})
    for form in forms:
        assert "ValueError" in client.call_error("runtime", "deserialize_cuda_engine", form)


def test_an_enumeration_is_one_of_tensorrts(client: Client) -> None:
    for cls, name in (
        ("Runtime", "__init__"),
        ("DataType", "__class__"),
        ("os", "path"),
        ("DataType", ["FLOAT"]),
        (None, None),
    ):
        assert "ValueError" in client.call_error(
            "network", "add_input", "z", {"@": "enum", "class": cls, "name": name}, (1,)
        )


@pytest.mark.parametrize(("data", "count"), [(b"", 0), (b"123", 0), (b"1234", 1), (bytes(4001), 1000)])
def test_the_length_of_weights_follows_from_their_bytes(client: Client, data: bytes, count: int) -> None:
    made = client.device.session._in(
        {"@": "weights", "dtype": "FLOAT", "data": data, "count": 1 << 40, "size": 1 << 40}
    )
    assert made.size == count
    weights = {"@": "weights", "dtype": "FLOAT", "data": data, "count": 1 << 40}
    constant = client.ask(
        do="call", id=client.objects["network"]["id"], name="add_constant", args=[(10_000,), weights], kwargs={}
    )
    if constant.get("value") is not None:  # then the build must refuse it, and not read on past the end
        client.objects["constant"] = constant["value"]
        client.call("network", "mark_output", client.call("constant", "get_output", 0))
        client.call("network", "mark_output", client.call("layer", "get_output", 0))
        assert (
            client.call("builder", "build_serialized_network", client.objects["network"], client.objects["config"])
            is None
        )


def test_weights_that_are_too_few_for_their_layer_do_not_build() -> None:
    make = Maker(KEY)
    network = make.network()
    x = make.call(network, "add_input", "x", enum("DataType", "FLOAT"), (1, 64, 8, 8))
    few = {"@": "weights", "dtype": "FLOAT", "data": bytes(16)}
    layer = make.call(network, "add_convolution_nd", x, 64, (3, 3), few)
    if layer is not None:
        make.call(network, "mark_output", make.call(layer, "get_output", 0))
        config = make.call(make.builder, "create_builder_config")
        assert make.call(make.builder, "build_serialized_network", network, config) is None


def _external(where: str) -> list[onnx.ModelProto]:
    """Models that keep a tensor in a file: as an initializer, in an attribute, in a subgraph, in a function, sparse."""

    def tensor(name: str = "w") -> TensorProto:
        made = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
        made.external_data.add(key="location", value=where)
        return made

    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (2, 3)) for n in "xy"]
    add = helper.make_node("Add", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["w"], value=tensor())
    inner = helper.make_graph([constant], "inner", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, (2, 3))])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    sparse = onnx.SparseTensorProto(values=tensor(), dims=[6])
    graphs = [
        helper.make_graph([add], "g", info[:1], info[1:], [tensor()]),
        helper.make_graph([constant, add], "g", info[:1], info[1:]),
        helper.make_graph([branch], "g", info[:1], info[1:]),
        helper.make_graph([add], "g", info[:1], info[1:], sparse_initializer=[sparse]),
    ]
    models = [helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]) for graph in graphs]
    function = helper.make_function("mine", "f", ["x"], ["y"], [constant, add], [helper.make_opsetid("", 17)])
    models.append(helper.make_model(graphs[0], ir_version=8, functions=[function]))
    del models[-1].graph.initializer[:]
    return models


@pytest.mark.parametrize("which", range(5))
def test_onnx_cannot_name_files_of_the_device(client: Client, tmp_path: Any, which: int) -> None:
    for where in ("/etc/passwd", str(tmp_path / "secret"), "../../etc/passwd"):
        model = _external(where)[which].SerializeToString()
        for name in ("parse", "supports_model_v2"):
            error = client.call_error("parser", name, model)
            assert error.startswith("ValueError: tensor 'w' keeps its data in another file")
        assert "ValueError" in client.call_error("parser", "parse", model, "/etc/")
    network = client.call("builder", "create_network", 0)
    client.objects["parser"] = client.value(do="new", args=[network], **{"class": "OnnxParser"})
    assert client.call("parser", "parse", onnx_relu(), "/etc/passwd")  # a path alone does nothing


def test_onnx_with_a_hidden_file_is_refused_whatever_flag_it_carries(client: Client) -> None:
    model = _external("/etc/passwd")[0]
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    model.graph.initializer[0].raw_data = bytes(24)
    assert "ValueError" in client.call_error("parser", "parse", model.SerializeToString())


@pytest.mark.parametrize("size", [1 << 40, (1 << 63) - 1, 0, -1, 1 << 70, 1.5, None, "1"])
def test_memory_has_an_end(client: Client, size: Any) -> None:
    assert "Error" in client.error(do="cuda", name="mem_alloc", args=[size]).replace("Misuse", "Error")
    for name, args in (("memset", [0, b"\0", size]), ("memcpy_dtoh", [0, size, ""]), ("memset", [0, b"12345678", 1])):
        client.error(do="cuda", name=name, args=args)


def test_findings_stay_of_a_size_that_can_be_sent(client: Client) -> None:
    for number in range(1000):
        client.cuda("host_misuse", "pageable", f"{number} " + "x" * 100_000)
    wire.pack(reply := client.device.control({"do": "audit"}))
    assert sum(len(f["message"]) for f in reply["findings"]) < 1 << 20


def test_a_loop_of_runs_stays_of_a_size_that_can_be_sent(client: Client) -> None:
    d_x, d_y = (client.cuda("mem_alloc", 24) for _ in range(2))
    client.cuda("memcpy_htod", d_x, bytes(24), "float32")
    for _ in range(300):
        assert client.call("context", "execute_v2", [d_x, d_y])
    audit = client.device.control({"do": "audit"})
    assert (len(audit["runs"]), audit["dropped_runs"]) == (200, 100)
    assert client.device.control({"do": "begin"}) == {}
    assert client.device.control({"do": "audit"})["dropped_runs"] == 0


class Failing(Executor):
    def run(self, inputs: Any) -> Any:
        raise ExecutionError("no such thing")


@pytest.mark.parametrize("waits", [True, False])
def test_an_engine_that_fails_is_a_finding_and_the_device_lives_on(client: Client, waits: bool) -> None:
    for engine in client.device.session._objects.values():
        if type(engine).__name__ == "ICudaEngine":
            engine.executor.__class__ = Failing
    d_x, d_y = (client.cuda("mem_alloc", 24) for _ in range(2))
    client.cuda("memcpy_htod", d_x, bytes(24), "float32")
    for name, address in (("x", d_x), ("y", d_y)):
        client.call("context", "set_tensor_address", name, address)
    assert client.value(
        do="call", id=client.objects["context"]["id"], name="execute_async_v3", args=[0], kwargs={}, line="answer.py:7"
    )
    if waits:
        assert "no such thing" in client.error(do="cuda", name="context_synchronize", args=[])
    audit = client.device.control({"do": "audit"})
    assert ("execution", "answer.py:7") in [(f["kind"], f["line"]) for f in audit["findings"]]
