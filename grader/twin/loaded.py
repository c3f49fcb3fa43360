"""Plans that this process has opened, so that loading one again costs only its digest."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property

from .executor import Executor
from .plan import Description, Plan, Sealed
from .shapes import ShapeRules

_KEPT = 4  # a task loads one or two plans, again and again; an executor holds a copy of the weights


class LoadedPlan:
    """What any number of engines of one plan share. What runs it is made when it is first asked for."""

    def __init__(self, name: str, plan: Plan) -> None:
        self.digest = name
        self.description: Description = plan.description
        self._network = plan.network

    @cached_property
    def executor(self) -> Executor:
        """Raises ExecutionError."""
        return Executor(self._network)

    @cached_property
    def shapes(self) -> ShapeRules:
        """Raises ExecutionError."""
        return ShapeRules(self._network, self.executor)


class LoadedPlans:
    """The most recently used plans of one process."""

    def __init__(self, key: bytes, tensorrt: str) -> None:
        self._key, self._tensorrt = key, tensorrt
        self._plans: OrderedDict[str, LoadedPlan] = OrderedDict()

    def load(self, data: bytes) -> LoadedPlan:
        """Raises PlanError. Bytes that were opened before are known by their SHA-256."""
        sealed = Sealed(data)
        name = sealed.digest
        if name in self._plans:
            self._plans.move_to_end(name)
            return self._plans[name]
        self._plans[name] = LoadedPlan(name, sealed.open(self._key, self._tensorrt))
        if len(self._plans) > _KEPT:
            self._plans.popitem(last=False)
        return self._plans[name]
