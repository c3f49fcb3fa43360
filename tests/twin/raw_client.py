"""A client of a device in the test's own process, without our client's manners."""

from __future__ import annotations

from typing import Any

from grader.inside.trtprep_worker import wire
from grader.twin.device import Device
from tests.twin.harness import KEY
from tests.twin.plans import enum

TWINS = ("runtime", "engine", "context", "inspector")
REAL = ("builder", "network", "config", "profile", "parser", "tensor", "layer")


class Client:
    """A client of a `Device` in this process, without our manners."""

    def __init__(self, plan: bytes) -> None:
        self.device = Device(KEY)
        self.cuda("init")
        self.cuda("make_context")
        new = lambda cls, *args: self.value(do="new", args=list(args), **{"class": cls})  # noqa: E731
        self.objects: dict[str, Any] = {"builder": new("Builder"), "runtime": new("Runtime")}
        made = self.objects
        made["network"] = self.call("builder", "create_network", 0)
        made["config"] = self.call("builder", "create_builder_config")
        made["profile"] = self.call("builder", "create_optimization_profile")
        made["parser"] = new("OnnxParser", made["network"])
        made["tensor"] = self.call("network", "add_input", "x", enum("DataType", "FLOAT"), (2, 3))
        made["layer"] = self.call("network", "add_identity", made["tensor"])
        made["engine"] = self.call("runtime", "deserialize_cuda_engine", plan)
        made["context"] = self.call("engine", "create_execution_context")
        made["inspector"] = self.call("engine", "create_engine_inspector")

    def ask(self, **request: Any) -> dict[str, Any]:
        reply = wire.unpack(*self.device.serve(request))
        assert set(reply) <= {"value", "error", "copies", "log"}
        assert ("value" in reply) != ("error" in reply)
        return reply

    def value(self, **request: Any) -> Any:
        reply = self.ask(**request)
        assert "error" not in reply, reply
        return reply["value"]

    def error(self, **request: Any) -> str:
        """Type and message of the error that must come."""
        reply = self.ask(**request)
        assert "error" in reply, reply
        return f"{reply['error']['type']}: {reply['error']['message']}"

    def call(self, target: str, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.value(do="call", id=self.objects[target]["id"], name=name, args=list(args), kwargs=kwargs)

    def call_error(self, target: str, name: str, *args: Any) -> str:
        return self.error(do="call", id=self.objects[target]["id"], name=name, args=list(args), kwargs={})

    def cuda(self, name: str, *args: Any) -> Any:
        return self.value(do="cuda", name=name, args=list(args))


PRIVATE = [
    "__class__", "__init__", "__dict__", "__globals__", "__reduce__", "__getattribute__", "__setattr__",
    "__subclasshook__",
    "__doc__", "__module__", "_world", "_shapes", "_data", "_pybind11_conduit_v1_", "__init__.__globals__", "", "mro",
    "no_such_name", "\ud800", "x" * 10_000,
]  # fmt: skip
INNER = [
    "io", "bounds", "executor", "shapes", "description", "digest", "home", "driver", "key", "runs", "pending",
    "record", "_tensor", "traced", "_memory", "_set_device_memory", "_layers", "_settled",
]  # fmt: skip
