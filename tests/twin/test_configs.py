"""What a build was set to, as the device notes it; and that every setting reaches the real config."""

from __future__ import annotations

from typing import Any

import pytest

from grader.inside.trtprep_worker import wire
from grader.twin.plan import digest
from tests.twin.harness import KEY, Twin
from tests.twin.plans import Maker, enum, onnx_relu
from tests.twin.raw_client import Client

_UNSET = {
    "workspace": None,
    "optimization_level": 3,
    "flags": ["TF32"],
    "verbosity": "LAYER_NAMES_ONLY",
    "profiles": [],
    "timing_cache": False,
    "compute_capabilities": [],
    "hardware_compatibility_level": "NONE",
}


class Built:
    """A network of two inputs, and a config of it."""

    def __init__(self) -> None:
        self.make = Maker(KEY)
        self.network = self.make.network()
        a = self.call(self.network, "add_input", "a", enum("DataType", "FLOAT"), (-1, 4))
        b = self.call(self.network, "add_input", "b", enum("DataType", "FLOAT"), (1, 4))
        layer = self.call(self.network, "add_elementwise", a, b, enum("ElementWiseOperation", "SUM"))
        self.call(self.network, "mark_output", self.call(layer, "get_output", 0))
        self.config = self.call(self.make.builder, "create_builder_config")

    def call(self, target: dict, name: str, *args: object) -> Any:
        return self.make.call(target, name, *args)

    def set(self, name: str, value: object) -> None:
        self.make.set(self.config, name, value)

    def profile(self, *sizes: int) -> None:
        profile = self.call(self.make.builder, "create_optimization_profile")
        self.call(profile, "set_shape", "a", *((n, 4) for n in sizes))
        assert self.call(self.config, "add_optimization_profile", profile) >= 0

    def build(self) -> Any:
        return self.call(self.make.builder, "build_serialized_network", self.network, self.config)

    def told(self) -> dict:
        """Of the one build."""
        plan = self.build()["data"]
        (told,) = self.make.session.configs.built
        assert self.make.session.configs.failed == []
        assert told.pop("plan") == digest(plan)
        wire.pack(told)
        return told


@pytest.fixture
def built() -> Built:
    return Built()


def test_nothing_set(built: Built) -> None:
    built.profile(1, 2, 4)
    assert built.told() == _UNSET | {"profiles": [{"a": [[1, 4], [2, 4], [4, 4]]}]}


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")  # its timing caches do nothing, and say so
def test_everything_set(built: Built) -> None:
    built.profile(1, 2, 4)
    built.profile(4, 8, 8)
    built.call(built.config, "set_memory_pool_limit", enum("MemoryPoolType", "WORKSPACE"), 64 << 20)
    built.set("builder_optimization_level", 5)
    built.set("profiling_verbosity", enum("ProfilingVerbosity", "DETAILED"))
    built.set("hardware_compatibility_level", enum("HardwareCompatibilityLevel", "AMPERE_PLUS"))
    built.set("num_compute_capabilities", 2)
    for index, name in enumerate(("SM86", "SM89")):
        assert built.call(built.config, "set_compute_capability", enum("ComputeCapability", name), index)
    built.call(built.config, "clear_flag", enum("BuilderFlag", "TF32"))
    built.call(built.config, "set_flag", enum("BuilderFlag", "STRICT_NANS"))
    cache = built.call(built.config, "create_timing_cache", b"")
    assert built.call(built.config, "set_timing_cache", cache, False)
    assert built.told() == {
        "workspace": 64 << 20,
        "optimization_level": 5,
        "flags": ["STRICT_NANS"],
        "verbosity": "DETAILED",
        "profiles": [{"a": [[1, 4], [2, 4], [4, 4]]}, {"a": [[4, 4], [8, 4], [8, 4]]}],
        "timing_cache": True,
        "compute_capabilities": ["SM86", "SM89"],
        "hardware_compatibility_level": "AMPERE_PLUS",
    }


def test_a_builds_record_puts_no_words_into_the_log(built: Built) -> None:
    """Some getters of TensorRT-RTX log warnings, and one an error where a profile has no shape for an input."""
    built.profile(1, 2, 4)
    built.make.session.records.clear()
    assert built.told()["profiles"]
    texts = [text for severity, text in built.make.session.records if severity < 3]
    assert texts == []
    assert len(built.make.session.records) > 10


def test_another_pools_limit_is_not_the_workspaces(built: Built) -> None:
    built.profile(1, 2, 4)
    built.call(built.config, "set_memory_pool_limit", enum("MemoryPoolType", "TACTIC_SHARED_MEMORY"), 1 << 20)
    assert built.told()["workspace"] is None


def test_a_reset_forgets_it_all(built: Built) -> None:
    built.profile(1, 2, 4)
    built.call(built.config, "set_memory_pool_limit", enum("MemoryPoolType", "WORKSPACE"), 1 << 20)
    built.set("builder_optimization_level", 0)
    built.set("hardware_compatibility_level", enum("HardwareCompatibilityLevel", "AMPERE_PLUS"))
    built.call(built.config, "reset")
    built.profile(2, 2, 2)
    assert built.told() == _UNSET | {"profiles": [{"a": [[2, 4], [2, 4], [2, 4]]}]}


def test_a_build_that_fails_is_told_apart(built: Built) -> None:
    assert built.build() is None, "the network is dynamic and has no profile"
    configs = built.make.session.configs
    assert (configs.built, configs.failed) == ([], [_UNSET])
    built.profile(1, 2, 4)
    assert built.build() is not None
    assert [len(told["profiles"]) for told in configs.built] == [1]
    assert len(configs.failed) == 1


def test_a_network_that_the_twin_cannot_run_is_a_build_that_failed(built: Built) -> None:
    make = Maker(KEY)
    network = make.network()
    x = make.call(network, "add_input", "x", enum("DataType", "FLOAT"), (1, 1, 4, 4))
    layer = make.call(network, "add_pooling_nd", x, enum("PoolingType", "AVERAGE"), (3, 3))
    make.set(layer, "stride_nd", (2, 2))
    make.set(layer, "padding_mode", enum("PaddingMode", "EXPLICIT_ROUND_UP"))
    make.set(layer, "average_count_excludes_padding", False)  # by what the last windows divide, nothing says
    make.call(network, "mark_output", make.call(layer, "get_output", 0))
    config = make.call(make.builder, "create_builder_config")
    with pytest.raises(NotImplementedError):
        make.call(make.builder, "build_serialized_network", network, config)
    assert (make.session.configs.built, len(make.session.configs.failed)) == ([], 1)


def test_configs_are_told_apart_by_more_than_their_place_in_memory(built: Built) -> None:
    """A config that goes, and another in its place."""
    for _ in range(20):
        config = built.call(built.make.builder, "create_builder_config")
        built.call(config, "set_memory_pool_limit", enum("MemoryPoolType", "WORKSPACE"), 1 << 20)
        built.make.session.release([config["id"]])
    built.config = built.call(built.make.builder, "create_builder_config")
    built.profile(1, 2, 4)
    assert built.told()["workspace"] is None


def test_the_audit_tells_a_calls_builds_and_no_others(client: Client) -> None:
    make = client.objects
    assert client.call("parser", "parse", onnx_relu()) in (True, False)
    make["network"] = client.call("builder", "create_network", 0)
    make["parser"] = client.value(do="new", args=[make["network"]], **{"class": "OnnxParser"})
    assert client.call("parser", "parse", onnx_relu())
    for _ in range(2):
        client.device.control({"do": "begin"})
        client.call("builder", "build_serialized_network", make["network"], make["config"])
        audit = client.device.control({"do": "audit"})
        assert [told["optimization_level"] for told in audit["configs"]] == [3]
        assert audit["failed_configs"] == []
    make["network"] = client.call("builder", "create_network", 0)
    assert client.call("builder", "build_serialized_network", make["network"], make["config"]) is None
    assert len(client.device.control({"do": "audit"})["failed_configs"]) == 1
    client.device.control({"do": "begin"})
    audit = client.device.control({"do": "audit"})
    assert (audit["configs"], audit["failed_configs"]) == ([], [])


def test_many_builds_and_long_names_stay_of_a_size_that_can_be_sent(built: Built) -> None:
    configs = built.make.session.configs
    for number in range(300):
        configs.record({"workspace": number, "profiles": [{"x" * 100_000: []}]}, None)
        configs.record({"workspace": number}, "digest")
    assert len(configs.failed) < 12
    assert [told["workspace"] for told in configs.built] == list(range(200, 300))


def test_every_setting_reaches_the_real_config_through_the_proxies(twin: Twin) -> None:
    outcome = twin(
        """
        builder = trt.Builder(LOGGER)
        network = builder.create_network(0)
        assert trt.OnnxParser(network, LOGGER).parse(bytes.fromhex(args[0]))
        config = builder.create_builder_config()
        pool = trt.MemoryPoolType.WORKSPACE
        assert config.get_memory_pool_limit(pool) > 1 << 30
        config.set_memory_pool_limit(pool, 1 << 24)
        assert config.get_memory_pool_limit(pool) == 1 << 24
        config.set_memory_pool_limit(pool=pool, pool_size=1 << 25)
        assert config.get_memory_pool_limit(pool) == 1 << 25
        for level in (0, 5):
            config.builder_optimization_level = level
            assert config.builder_optimization_level == level
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        assert config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.AMPERE_PLUS
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.NONE
        try:
            config.hardware_compatibility_level = 1
        except TypeError as error:
            assert "int" in str(error)
        else:
            raise AssertionError("an int")
        config.num_compute_capabilities = 2
        assert config.set_compute_capability(trt.ComputeCapability.SM86, 0)
        assert config.set_compute_capability(trt.ComputeCapability.SM120, 1)
        assert config.get_compute_capability(1) == trt.ComputeCapability.SM120
        assert not config.set_compute_capability(trt.ComputeCapability.SM120, 2)
        flag = trt.BuilderFlag.VERSION_COMPATIBLE
        assert not config.get_flag(flag)
        config.set_flag(flag)
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
        assert config.get_flag(flag) and config.get_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
        config.clear_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
        config.clear_flag(flag)
        assert not config.get_flag(flag)
        assert config.get_timing_cache() is None
        cache = config.create_timing_cache(b"")
        assert config.set_timing_cache(cache, ignore_mismatch=False)
        kept = config.get_timing_cache().serialize()
        assert kept.nbytes == len(bytes(kept)) > 0
        again = builder.create_builder_config()
        assert again.set_timing_cache(again.create_timing_cache(kept), True)
        assert again.set_timing_cache(again.create_timing_cache(bytes(kept)), True)
        assert builder.build_serialized_network(network, config) is not None
        assert bytes(config.get_timing_cache().serialize())
        """,
        onnx_relu().hex(),
    ).clean()
    assert outcome.builds == 1


def test_a_version_compatible_plan_needs_a_library_that_the_wheel_lacks(twin: Twin) -> None:
    """As in TensorRT-RTX itself: None, and the reason in the log."""
    outcome = twin(
        """
        builder = trt.Builder(LOGGER)
        network = builder.create_network(0)
        assert trt.OnnxParser(network, LOGGER).parse(bytes.fromhex(args[0]))
        config = builder.create_builder_config()
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        assert builder.build_serialized_network(network, config) is None
        """,
        onnx_relu().hex(),
    ).clean()
    assert "libnvinfer_lean" in outcome.printed


def test_two_profiles_at_run_time(twin: Twin) -> None:
    twin("""
    engine, small = load("batch")
    large, stream = engine.create_execution_context(), cuda.Stream()
    assert large.set_optimization_profile_async(1, stream.handle)
    stream.synchronize()
    d_x, d_y = cuda.mem_alloc(8 * 16), cuda.mem_alloc(8 * 16)
    for context, sizes, too_many in ((small, (1, 4), 5), (large, (1, 8), 9), (small, (3,), 8)):
        for name, memory in (("x", d_x), ("y", d_y)):
            context.set_tensor_address(name, int(memory))
        for size in sizes:
            x = np.arange(size * 4, dtype=np.float32).reshape(size, 4) - 5
            assert context.set_input_shape("x", x.shape)
            cuda.memcpy_htod(d_x, x)
            assert context.execute_async_v3(stream.handle)
            stream.synchronize()
            assert np.array_equal(cuda.from_device(d_y, x.shape, np.float32), np.maximum(x, 0))
        assert not context.set_input_shape("x", (too_many, 4))
    assert not small.set_optimization_profile_async(2, stream.handle)
    """).clean()
