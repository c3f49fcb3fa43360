"""What builder configs were set to: their profiles, which TensorRT does not give back, and a record of each build."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from typing import Any

import tensorrt_rtx as trt

_WORKSPACE = trt.MemoryPoolType.WORKSPACE
#: What the audit keeps of a call's builds: the newest, of this size as text.
_MOST_RECORDS, _MOST_CHARACTERS = 100, 1 << 20


@dataclass
class Configs:
    """The configs of one session, and what was built with them."""

    built: list[dict[str, Any]] = field(default_factory=list)  #: since `forget`, one for each plan
    failed: list[dict[str, Any]] = field(default_factory=list)  #: those of builds that gave no plan
    # By the config's id, which stays its own: a session lets go of no config that it made.
    _profiles: dict[int, list[Any]] = field(default_factory=dict)
    _workspace: dict[int, int] = field(default_factory=dict)
    _level: dict[int, trt.HardwareCompatibilityLevel] = field(default_factory=dict)

    def add_profile(self, config: trt.IBuilderConfig, profile: trt.IOptimizationProfile) -> int:
        index = config.add_optimization_profile(profile)
        if index >= 0:
            self._profiles.setdefault(id(config), []).append(profile)
        return index

    def limit(self, config: trt.IBuilderConfig, pool: trt.MemoryPoolType, pool_size: int) -> None:
        config.set_memory_pool_limit(pool, pool_size)
        if pool == _WORKSPACE:
            self._workspace[id(config)] = config.get_memory_pool_limit(pool)

    def set_hardware_level(self, config: trt.IBuilderConfig, level: trt.HardwareCompatibilityLevel) -> None:
        """Remembered only: TensorRT-RTX has no such level, forgets it and logs so whenever it is set or read."""
        if not isinstance(level, trt.HardwareCompatibilityLevel):
            raise TypeError(f"hardware_compatibility_level cannot be a {type(level).__name__}")
        self._level[id(config)] = level

    def hardware_level(self, config: trt.IBuilderConfig) -> trt.HardwareCompatibilityLevel:
        return self._level.get(id(config), trt.HardwareCompatibilityLevel.NONE)

    def reset(self, config: trt.IBuilderConfig) -> None:
        config.reset()
        for kept in (self._profiles, self._workspace, self._level):
            kept.pop(id(config), None)

    def profiles(self, config: trt.IBuilderConfig, network: trt.INetworkDefinition) -> tuple[dict[str, Any], ...]:
        """For each profile: input name -> (min, opt, max), of those inputs that it names (a shape input's values)."""
        inputs = [network.get_input(i) for i in range(network.num_inputs)]
        return tuple(
            {tensor.name: three for tensor in inputs if (three := _three(profile, tensor))}
            for profile in self._profiles.get(id(config), ())
        )

    def describe(self, config: trt.IBuilderConfig, network: trt.INetworkDefinition) -> dict[str, Any]:
        """What ``config`` is set to for a build of ``network``, as plain data."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of timing caches, which do nothing here
            has_cache = config.get_timing_cache() is not None
        profiles = self.profiles(config, network)
        return {
            "workspace": self._workspace.get(id(config)),
            "optimization_level": config.builder_optimization_level,
            "flags": [name for name, flag in trt.BuilderFlag.__members__.items() if config.get_flag(flag)],
            "verbosity": config.profiling_verbosity.name,
            "profiles": [{name: [list(shape) for shape in three] for name, three in p.items()} for p in profiles],
            "timing_cache": has_cache,
            "compute_capabilities": [
                config.get_compute_capability(i).name for i in range(config.num_compute_capabilities)
            ],
            "hardware_compatibility_level": self.hardware_level(config).name,
        }

    def record(self, described: dict[str, Any], plan: str | None) -> None:
        """Note a build; ``plan`` is the plan's digest, None where there is none."""
        records = self.failed if plan is None else self.built
        records.append(described | ({} if plan is None else {"plan": plan}))
        while len(records) > _MOST_RECORDS or len(json.dumps(records)) > _MOST_CHARACTERS:
            del records[0]

    def forget(self) -> None:
        self.built.clear()
        self.failed.clear()


def _three(profile: trt.IOptimizationProfile, tensor: trt.ITensor) -> tuple[tuple[int, ...], ...]:
    """TensorRT asks for shapes as it does for values; where none were set there are none."""
    three = profile.get_shape_input(tensor.name) if tensor.is_shape_tensor else profile.get_shape(tensor.name)
    return tuple(tuple(one) for one in three)
