"""Fixtures of the twin's tests: programs in processes of their own, and plans to run in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.twin.harness import KEY, RawDevice, Twin, Zygotes

# What needs TensorRT-RTX is imported where it is used: on a GPU, these tests' programs are collected without it.
if TYPE_CHECKING:
    from tests.twin.raw_client import Client


@pytest.fixture(scope="session")
def zygotes() -> Iterator[Zygotes]:
    made = Zygotes()
    yield made
    made.close()


@pytest.fixture(scope="session")
def plan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plans of `plans.all_plans`, one file each."""
    from tests.twin.plans import all_plans

    folder = tmp_path_factory.mktemp("plans")
    for name, data in all_plans(KEY).items():
        (folder / f"{name}.plan").write_bytes(data)
    return folder


@pytest.fixture
def twin(zygotes: Zygotes, plan_folder: Path, tmp_path: Path) -> Twin:
    for plan in plan_folder.iterdir():
        (tmp_path / plan.name).symlink_to(plan)
    return Twin(zygotes, tmp_path)


@pytest.fixture
def client(plan_folder: Path) -> Client:
    """A client of a device in this very process."""
    from tests.twin.raw_client import Client

    return Client((plan_folder / "relu.plan").read_bytes())


@pytest.fixture
def raw_device(zygotes: Zygotes) -> Iterator[Callable[..., RawDevice]]:
    """Makes devices whose client is the test."""
    made: list[RawDevice] = []

    def make(key: bytes = KEY) -> RawDevice:
        made.append(RawDevice(zygotes, key))
        return made[-1]

    yield make
    for device in made:
        device.close()
