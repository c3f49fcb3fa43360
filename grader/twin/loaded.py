"""Plans that this process has opened, so that loading one again costs only its digest."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from .executor import Executor
from .plan import Description, digest, unseal
from .shapes import ShapeRules

_KEPT = 4  # a task loads one or two plans, again and again; an executor holds a copy of the weights


@dataclass(frozen=True)
class LoadedPlan:
    """What any number of engines of one plan share; none of it changes."""

    digest: str
    description: Description
    executor: Executor
    shapes: ShapeRules


class LoadedPlans:
    """The most recently used plans of one process."""

    def __init__(self, key: bytes, tensorrt: str) -> None:
        self._key, self._tensorrt = key, tensorrt
        self._plans: OrderedDict[str, LoadedPlan] = OrderedDict()

    def load(self, data: bytes) -> LoadedPlan:
        """Raises PlanError or ExecutionError. Bytes that were opened before are known by their SHA-256."""
        name = digest(data)
        if name in self._plans:
            self._plans.move_to_end(name)
            return self._plans[name]
        plan = unseal(data, self._key, self._tensorrt)
        executor = Executor(plan.network)
        self._plans[name] = LoadedPlan(name, plan.description, executor, ShapeRules(plan.network, executor))
        if len(self._plans) > _KEPT:
            self._plans.popitem(last=False)
        return self._plans[name]
