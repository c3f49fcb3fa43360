"""`trtprep batch --ray` on a cluster of two nodes, both on this machine."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grader.batch.graders import Task
from grader.batch.here import Begun
from grader.batch.ray_site import RaySite
from grader.batch.records import RESULTS, Batch, read_records
from grader.course import EXERCISES, find
from tests.grading import solution_source
from tests.mutants.test_mutants import MUTANTS
from tests.small_course import ROOT, environment, says_in_one_line, trtprep

C1 = find("c1")


def test_without_ray_the_command_says_what_to_install(tmp_path: Path) -> None:
    try:
        import ray  # noqa: F401
    except ImportError:
        (tmp_path / "class" / "alice").mkdir(parents=True)
        done = trtprep("batch", str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--ray", "auto")
        says_in_one_line(done, "pip install -e '.[ray]'")
    else:
        pytest.skip("Ray is installed")


class FakeRay:
    """A cluster's resources, and what tasks ask for."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self, tier: str, **resources: float) -> None:
        self.tier, self.resources, self.asked = tier, resources, []

    def init(self, **_: Any) -> None:
        pass

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, **options: Any) -> Any:
        self.asked.append(options)
        return lambda function: SimpleNamespace(remote=lambda *_: None)

    def get(self, *_: Any, **__: Any) -> Begun:
        return Begun(Batch(1, self.tier, (C1.id,), {}, {}, ""), 1.0)


@pytest.mark.parametrize(
    ("wanted", "found", "gpus", "probe", "task", "jobs"),
    [
        ("auto", "gpu", 3, 1, 1, 3),
        ("gpu", "gpu", 3, 1, 1, 3),
        ("auto", "twin", 3, 1, 0, 8),
        ("twin", "twin", 3, 0, 0, 8),
        ("auto", "twin", 0, 0, 0, 8),
    ],
)
def test_a_task_has_a_gpu_where_the_tier_needs_one(
    wanted: str, found: str, gpus: int, probe: int, task: int, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeRay(found, CPU=8.0, GPU=float(gpus))
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    site = RaySite("auto", wanted)
    begun = site.begin((C1,), 1)
    graders = site.graders(Task((C1.id,), found, 1, 60.0), begun.batch, None, 100)
    assert [options["num_gpus"] for options in fake.asked] == [probe, *[task] * jobs]
    assert len(graders) == jobs


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without room for tasks, and two nodes that have room for one each."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    made.shutdown()


def hand_in(folder: Path, sources: dict[str, str]) -> None:
    for person, source in sources.items():
        path = folder / person / C1.id / "stub.py"
        path.parent.mkdir(parents=True)
        path.write_text(source)


def batch(tmp_path: Path, address: str, *words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "grader", "batch", str(tmp_path / "class"), "--out", str(tmp_path / "out")]
    argv += ["--tier", "twin", "--seed", "5", "--ray", address, *words]
    return subprocess.Popen(
        argv, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def lines(out: Path) -> list[dict[str, Any]]:
    if not (out / RESULTS).exists():
        return []
    return [json.loads(line) for line in (out / RESULTS).read_text().splitlines()]


@pytest.mark.ray
def test_a_node_that_is_killed_midway_loses_nothing_and_doubles_nothing(cluster: Any, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    mutants = [m for m in MUTANTS if m.exercise == C1.id and m.tier == "twin" and not m.also][:4]
    stub = (EXERCISES / C1.id / "stub.py").read_text()
    sources = {m.name: m.source() for m in mutants} | {"solution": solution_source(C1.id)}
    sources |= {f"stub-{n}": stub for n in range(3)}
    right = {m.name: C1.points - C1.task(m.task).points for m in mutants} | {"solution": C1.points}
    right |= {f"stub-{n}": 0 for n in range(3)}
    hand_in(tmp_path / "class", sources)

    running = batch(tmp_path, cluster.address)
    deadline = time.monotonic() + 300
    while len(lines(tmp_path / "out")) < 2:
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = len(lines(tmp_path / "out"))
    cluster.remove_node(nodes[1], allow_graceful=False)
    assert before < len(sources)
    out, _ = running.communicate(timeout=600)

    assert running.returncode == 0, out
    assert Counter(line["person"] for line in lines(tmp_path / "out")) == Counter(list(sources))
    records = read_records(tmp_path / "out")
    assert {r.person: r.result and r.result["earned"] for r in records} == right
    assert {r.error for r in records} == {None}
    assert {r.result["submission"] for r in records if r.result} == set(sources)


@pytest.mark.ray
def test_a_batch_that_began_here_goes_on_in_a_cluster(cluster: Any, tmp_path: Path) -> None:
    """Same records, same resume; and where nobody can be reached, one line."""
    cluster.add_node(num_cpus=1)
    hand_in(tmp_path / "class", {"alice": (EXERCISES / C1.id / "stub.py").read_text()})
    here = trtprep("batch", str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--tier", "twin", "--seed", "5")
    assert here.status == 0, here.err
    hand_in(tmp_path / "class", {"bob": "raise SystemExit"})
    out, _ = (there := batch(tmp_path, cluster.address, "--resume")).communicate(timeout=300)
    assert there.returncode == 0, out
    assert [line["person"] for line in lines(tmp_path / "out")] == ["alice", "bob"]
    out, _ = (nowhere := batch(tmp_path, "127.0.0.1:1", "--resume")).communicate(timeout=300)
    assert nowhere.returncode == 2
    assert "cannot reach a Ray cluster" in out and "Traceback" not in out
