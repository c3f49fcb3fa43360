"""What is asked of an answer to q3_workflow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from grader.fixtures.plans import trusted_plan
from grader.fixtures.private import workflow_cases as cases
from grader.fixtures.private.dynamic_networks import DynamicNetwork, Profile
from grader.fixtures.private.messy_models import MessyModel
from grader.fixtures.private.workflow_cases import MIB, config_of, requests_for, saved, sha256
from grader.judging.clean_graphs import faults, nodes_that_compute, shape_nodes
from grader.judging.judge import array, close, fail, fp32, went_through
from grader.judging.timing import at_most
from grader.judging.workflow import PlanJudge, refused
from grader.plugin import Call, Recorder
from grader.processes.candidate import CallFailed, Candidate, GivenFile, GivenPath, Returned
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest

Served = tuple[DynamicNetwork, list[Profile], bytes]
CONVERTED = 4  #: nodes that a change of opset may add: three for a Softmax of old


@pytest.fixture
def plans(runner: Runner, tier: Tier, rng) -> PlanJudge:
    return PlanJudge(runner, tier, rng)


@pytest.fixture(scope="module")
def served(runner: Runner, tier: Tier, recorder: Recorder) -> Served:
    """A network that only this run knows, its profiles and its trusted plan: running is judged apart from building."""
    rng = np.random.default_rng([recorder.seed, 1])
    network = DynamicNetwork.draw(rng)
    profiles = network.profiles(rng)
    return network, profiles, trusted_plan(runner, tier, network.onnx, profiles)


# -- prepare


@pytest.mark.task("prepare")
@pytest.mark.parametrize("number", [1, 2])
def test_an_exporters_model_becomes_clean_and_computes_the_same(call: Call, plans: PlanJudge, rng, number: int) -> None:
    messy = MessyModel.draw(rng)
    prepared = _bytes(call("prepare", GivenFile("exported.onnx", messy.onnx), {}).value, "prepare")
    found = list(faults(prepared))
    if found:
        fail(f"the model is not clean: {found[0]}{f' ({len(found) - 1} more of such)' if len(found) > 1 else ''}")
    needed, left = nodes_that_compute(messy.onnx), nodes_that_compute(prepared)
    if left > needed + CONVERTED:
        fail(f"the model has {left} nodes, and of the exported one's {needed} do something: what are the others for?")
    low, high = (1, messy.channels, 8, 8), (20, messy.channels, 20, 20)
    plan = plans.built_from(prepared, messy, (-1, messy.channels, -1, -1), [low, high, high])
    for size in (tuple(rng.integers(8, 20, 3).tolist()), (1, 8, 8)):
        plans.computes_the_same(plan, messy, size)


@pytest.mark.task("shapes")
@pytest.mark.parametrize("fixed", ["all dimensions", "height and width"])
def test_dimensions_are_fixed_where_asked_and_nowhere_else(call: Call, plans: PlanJudge, rng, fixed: str) -> None:
    messy = MessyModel.draw(rng)
    batch, height, width = rng.integers(8, 20, 3).tolist()
    asked = [batch if fixed == "all dimensions" else None, messy.channels, height, width]
    prepared = _bytes(call("prepare", GivenFile("exported.onnx", messy.onnx), {messy.input: asked}).value, "prepare")
    shape = tuple(-1 if size is None else size for size in asked)
    low, high = ((n, *shape[1:]) for n in (1, 20))
    plan = plans.built_from(prepared, messy, shape, [low, high, high] if -1 in shape else None)
    plans.computes_the_same(plan, messy, (batch, height, width))
    if fixed == "all dimensions" and (count := shape_nodes(prepared)):
        fail(
            f"all dimensions are fixed, yet {count} Shape nodes ask for them: fold these as well, once shapes are known"
        )


@pytest.mark.task("bad-model")
def test_a_model_that_cannot_be_prepared_is_told_as_such(call: Call, rng) -> None:
    messy = MessyModel.draw(rng)
    _bytes(call("prepare", GivenFile("good.onnx", messy.onnx), {}).value, "prepare")
    for what, arguments, words in cases.bad_models(messy):
        with refused("prepare", f"prepare of {what}", *words):
            call("prepare", *arguments)


# -- build


@pytest.mark.task("build")
def test_an_engine_has_all_its_profiles(call: Call, plans: PlanJudge, rng) -> None:
    network = DynamicNetwork.draw(rng)
    config = config_of(network, rng)
    wide = cases.plain(network.profile((1, 8, 64), (1, 8, 96), (1, 16, int(rng.integers(97, 129)))))
    for profiles in ([wide], [*config["profiles"], wide]):
        given = config | {"profiles": profiles}
        plans.right(_bytes(call("build", network.onnx, given).value, "build"), network, given)


@pytest.mark.task("build")
def test_workspace_and_level_reach_the_builder(call: Call, plans: PlanJudge, rng) -> None:
    network = DynamicNetwork.draw(rng)
    for level in rng.permutation(3)[:2].tolist():
        config = config_of(network, rng) | {"level": level}
        returned = call("build", network.onnx, config)
        plans.right(_bytes(returned.value, "build"), network, config)
        for given in _settings(returned):
            _as_asked(given, "workspace", config["workspace"], "set_memory_pool_limit takes bytes")
            _as_asked(given, "optimization_level", level, "set builder_optimization_level before the build")


@pytest.mark.task("build")
def test_a_timing_cache_may_be_missing_present_or_damaged(call: Call, plans: PlanJudge, rng) -> None:
    network = DynamicNetwork.draw(rng)
    config, path = config_of(network, rng), GivenPath(f"timings-{rng.integers(10**9)}")
    for state, cache in (("missing", path), ("present", path), ("damaged", GivenFile("damaged", rng.bytes(300)))):
        try:
            returned = call("build", network.onnx, config, cache)
        except CallFailed as failure:
            fail(f"build with a timing cache that is {state}: {failure}")
        plans.right(_bytes(returned.value, "build"), network, config)
        for given in _settings(returned):
            _as_asked(given, "timing_cache", True, f"the path of one was given, which is {state}")


def _settings(returned: Returned) -> list[dict[str, Any]]:
    """What the plan that build returned was built with, where there is a device that tells."""
    if not returned.evidence.known:
        return []
    found = [config for config in returned.evidence.configs if config["plan"] == digest(returned.value)]
    return found[:1] or fail("the plan that build returned was not built in this call")


def _as_asked(given: dict[str, Any], name: str, want: Any, how: str) -> None:
    if given[name] != want:
        fail(f"the builder's {name.replace('_', ' ')} was {given[name]}, asked for was {want}: {how}")


@pytest.mark.task("bad-config")
def test_a_build_that_cannot_be_says_why(call: Call, plans: PlanJudge, rng) -> None:
    network = DynamicNetwork.draw(rng)
    config = config_of(network, rng)
    plans.right(_bytes(call("build", network.onnx, config).value, "build"), network, config)
    for what, arguments, words in cases.bad_builds(network, config, MessyModel.draw(rng).with_unknown_operator(), rng):
        with refused("build", f"build of {what}", *words):
            call("build", *arguments)


# -- what level and timing cache save: on a GPU


@pytest.mark.task("timing")
def test_a_low_level_and_a_full_timing_cache_make_builds_faster(
    call: Call, plans: PlanJudge, rng, record_property
) -> None:
    first = DynamicNetwork.draw(rng, widths=(32, 48, 64, 48), channels=16)
    profile = cases.plain(first.profile((1, 56, 56), (4, 56, 56), (8, 56, 56)))
    full, number = GivenPath(f"full-{rng.integers(10**9)}"), iter(range(1000))

    def build(level: int, cache: Any = None) -> float:
        """Seconds. The layers are always the same, the weights never: a plan that was kept is of no use."""
        network = first.with_other_weights(rng)
        config = {"profiles": [profile], "workspace": 256 * MIB, "level": level}
        returned = call("build", network.onnx, config, cache, seconds=60)
        plans.right(_bytes(returned.value, "build"), network, config)
        return returned.seconds

    build(0)  # what TensorRT loads once is no part of what is compared
    found = at_most(0.7, lambda: build(0), lambda: build(3), rounds=3)
    record_property("build at level 0 / at level 3", str(found))
    if found.ratio > 0.7:
        fail(f"a build at level 0 takes {found} of one at level 3: is the level set before the build?")
    build(3, full)
    found = at_most(0.6, lambda: build(3, full), lambda: build(3, GivenPath(f"new-{next(number)}")), rounds=3)
    record_property("build with a full timing cache / with a new one", str(found))
    if found.ratio > 0.6:
        what = f"a build of the same layers takes {found} with the timing cache of an earlier one"
        fail(f"{what}: is it read and set before the build, and written after it?")


# -- save and load


@pytest.fixture
def here(call: Call) -> dict[str, str]:
    """What the answer says a plan is bound to: that it is right is judged by `save`."""
    found = call("here").value
    if not isinstance(found, dict) or not all(isinstance(text, str) for pair in found.items() for text in pair):
        fail(f"here must return texts by name, not {found!r:.200}")
    if missing := sorted({"tensorrt", "device", "compute_capability"} - set(found)):
        fail(f"here does not tell {missing[0]!r}")
    return found


@pytest.mark.task("save")
def test_what_is_here_is_told_in_full(here: dict[str, str], tier: Tier) -> None:
    version = f"rtx{tier.tensorrt}" if tier.name == "twin" else ".".join(tier.tensorrt.split(".")[:3])
    if version not in here["tensorrt"]:
        fail(f"here says that TensorRT is {here['tensorrt']!r}; its version in full has {version!r} in it")
    if here["device"] != (device := tier.gpu or "trtprep CPU twin"):
        fail(f"here says that the device is {here['device']!r}; the driver calls it {device!r}")
    numbers = here["compute_capability"].split(".")
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        fail(f"here says that the compute capability is {here['compute_capability']!r}; it looks like '9.0'")


@pytest.mark.task("save")
def test_the_record_tells_what_the_plan_was_built_with(call: Call, here: dict[str, str], rng) -> None:
    network, plan = DynamicNetwork.draw(rng), rng.bytes(3000)
    config, name = config_of(network, rng), f"saved-{rng.integers(10**9)}.plan"
    record = call("save", plan, GivenPath(name), network.onnx, config).value
    if not isinstance(record, dict):
        fail(f"save must return the record, a dict, not {type(record).__name__}")
    want = here | {"plan_sha256": sha256(plan), "model_sha256": sha256(network.onnx), "config": config}
    for entry, value in want.items():
        if entry not in record:
            fail(f"the record does not tell {entry!r}")
        if _as_json(record[entry]) != _as_json(value):
            fail(f"the record's {entry!r} is {record[entry]!r:.200}, expected {value!r:.200}")
    with refused("save", "save to a path whose folder is a file"):
        call("save", plan, GivenPath(f"{name}/below.plan"), network.onnx, config)


@pytest.mark.task("load")
@pytest.mark.parametrize("name", ["tensorrt", "device", "compute_capability"])
def test_a_plan_made_elsewhere_is_refused_with_both_names(call: Call, here: dict[str, str], rng, name: str) -> None:
    plan = rng.bytes(3000)
    _is_loaded(call("load", saved(plan, here, rng)).value, plan)
    other = {"tensorrt": f"{here['tensorrt']}.{rng.integers(1, 99)}", "device": f"{here['device']} Ti"}
    other["compute_capability"] = f"{rng.integers(20, 99)}.{rng.integers(9)}"
    with refused("load", f"load of a plan made with another {name}", other[name], here[name]):
        call("load", saved(plan, here | {name: other[name]}, rng))


@pytest.mark.task("load")
def test_a_damaged_or_missing_file_is_refused(call: Call, here: dict[str, str], rng) -> None:
    plan, path = rng.bytes(3000), GivenPath(f"saved-{rng.integers(10**9)}.plan")
    for content in (rng.bytes(2000), plan):  # over the older one
        call("save", content, path, b"a model", config_of(DynamicNetwork.draw(rng), rng))
    good = saved(plan, here, rng)
    for given in (path, good):
        _is_loaded(call("load", given).value, plan)
    for what, bad in cases.bad_saves(good, rng):
        with refused("load", f"load of {what}"):
            call("load", bad)


def _is_loaded(value: Any, plan: bytes) -> None:
    if _bytes(value, "load") != plan:
        fail("load did not return the plan's bytes as they were saved")


# -- run


@pytest.mark.task("run")
def test_every_request_is_answered_in_a_profile_with_room_for_it(call: Call, tier: Tier, served: Served, rng) -> None:
    network, profiles, plan = served
    requests = requests_for(network, profiles, rng)
    returned = call("run", plan, requests)
    for number, (request, given) in enumerate(zip(requests, _answers(returned, requests), strict=True)):
        if not isinstance(given, dict) or set(given) != {network.output}:
            fail(f"run must return a dict of the engine's outputs for each request; for {number} it is {given!r:.200}")
        want, what = network.expected(request), f"the output for request {number} of {len(requests)}"
        got = array(given[network.output], what, dtype="float32", shape=want.shape)
        views = "are the answers views of a buffer that the next request overwrites?"
        close(got, want, what, within=fp32(tier), advice=views)
        went_through(returned, digest(plan), request[network.image])


@pytest.mark.task("run")
def test_memory_is_allocated_once_for_all_requests(call: Call, served: Served, rng) -> None:
    network, profiles, plan = served
    requests = [request for _ in range(2) for request in requests_for(network, profiles, rng)]
    returned = call("run", plan, requests)
    _answers(returned, requests)
    lines = [entry["line"] for entry in returned.evidence.log if entry["do"] == "alloc"]  # empty on a GPU
    if len(lines) > 3:
        what = f"{len(requests)} requests took {len(lines)} allocations on the device ({', '.join(sorted(set(lines)))})"
        fail(f"{what}; one for each of the engine's 3 inputs and outputs is enough, as large as the largest request")


@pytest.mark.task("bad-request")
def test_a_request_that_cannot_run_is_told_and_leaves_nothing(call: Call, served: Served, rng) -> None:
    network, profiles, plan = served
    requests = requests_for(network, profiles, rng)[:3]
    _answers(call("run", plan, requests), requests)
    for what, bad in cases.bad_requests(network, profiles, requests[2], rng):
        with refused("run", f"run with {what}"):
            call("run", plan, [*requests[:2], bad])
    for what, bad_plan in (("a plan that was cut off", plan[: len(plan) // 2]), ("an empty plan", b"")):
        with refused("run", f"run of {what}"):
            call("run", bad_plan, requests)


def _answers(returned: Returned, requests: list) -> list:
    if not isinstance(returned.value, list) or len(returned.value) != len(requests):
        fail(f"run of {len(requests)} requests must return a list of {len(requests)} dicts")
    return returned.value


# -- cache


@pytest.mark.task("cache")
def test_the_same_thing_is_built_once(call: Call, plans: PlanJudge, tier: Tier, rng) -> None:
    network = DynamicNetwork.draw(rng)
    config, folder = config_of(network, rng), _folder(rng)
    first = call("cached_build", GivenFile("model.onnx", network.onnx), config, folder)
    plan, _ = _cached(first)
    plans.right(plan, network, config)
    turned = dict(reversed(config.items()))
    for name, given, what in (("model.onnx", config, "again"), ("moved.onnx", turned, "of the same model, moved,")):
        second = call("cached_build", GivenFile(name, network.onnx), given, folder)
        if second.evidence.builds or _cached(second)[0] != plan:
            fail(f"cached_build {what} with an equal config built once more: the key should follow from content")
        if tier.timings and second.seconds > 0.5 * first.seconds:
            fail(f"cached_build {what} took {second.seconds:.2f} s, and {first.seconds:.2f} s when it had to build")


@pytest.mark.task("cache")
def test_a_changed_thing_is_built_anew(call: Call, plans: PlanJudge, rng) -> None:
    network = DynamicNetwork.draw(rng)
    config, folder = config_of(network, rng), _folder(rng)
    changes = {
        "nothing yet": (network, config),
        "other weights": (network.with_other_weights(rng), config),
        "the profiles in another order": (network, config | {"profiles": config["profiles"][::-1]}),
        "another workspace": (network, config | {"workspace": config["workspace"] + MIB}),
        "another level": (network, config | {"level": config["level"] + 1}),
    }
    for what, (model, given) in changes.items():
        returned = call("cached_build", GivenFile("model.onnx", model.onnx), given, folder)
        if not _built_now(returned, plan := _cached(returned)[0]):
            fail(f"cached_build with {what} built nothing: it gave the plan of another build")
        plans.right(plan, model, given)


@pytest.mark.task("cache")
def test_a_damaged_file_in_the_cache_is_built_anew(
    call: Call, plans: PlanJudge, runner: Runner, tier: Tier, served, rng
) -> None:
    network = DynamicNetwork.draw(rng)
    config, folder = config_of(network, rng), _folder(rng)
    plan, path = _cached(call("cached_build", GivenFile("model.onnx", network.onnx), config, folder))
    file = _below(folder, path)
    damages = {
        "its plan cut off": {file: plan[: len(plan) // 2]},
        "another model's plan in its place": {file: served[2]},
        "its record cut off": {f"{file}.json": b'{"tensorrt": '},
    }
    for what, damage in damages.items():
        returned = call("cached_build", GivenFile("model.onnx", network.onnx, damage), config, folder)
        again, _ = _cached(returned)
        if again == damage.get(file):
            fail(f"cached_build returned what it found in the cache, {what}: is it loaded as load does?")
        if not _built_now(returned, again):
            fail(f"cached_build found a plan in the cache with {what}, and did not build what it returned")
        plans.right(again, network, config)


@pytest.mark.task("cache")
def test_a_key_follows_from_content_alone(call: Call, answer: Candidate, rng) -> None:
    network = DynamicNetwork.draw(rng)
    config, model = config_of(network, rng), network.onnx
    where = {"tensorrt": "10.1", "device": "GPU 1", "compute_capability": "8.6"}
    key = call("cache_key", model, config, where).value
    if not isinstance(key, str) or not key.isascii() or not key.isalnum() or not 16 <= len(key) <= 128:
        fail(f"cache_key must return 16 to 128 letters and digits, not {key!r:.200}")
    for name, value in (("tensorrt", "10.11"), ("device", "GPU 2"), ("compute_capability", "8.9")):
        if call("cache_key", model, config, where | {name: value}).value == key:
            fail(f"the key is the same for the {name} {where[name]!r} and {value!r}")
    answer.close()  # the next call is another process's
    turned = (dict(reversed(content.items())) for content in (config, where))
    if call("cache_key", model, *turned).value != key:
        fail("the key of equal content is another one in another process, or with the entries in another order")


def _folder(rng: np.random.Generator) -> GivenPath:
    return GivenPath(f"cache-{rng.integers(10**9)}")


def _cached(returned: Returned) -> tuple[bytes, str]:
    value = returned.value
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not isinstance(value[1], str):
        fail(f"cached_build must return the plan and the path of its file, not {value!r:.200}")
    return _bytes(value[0], "cached_build, first,"), value[1]


def _built_now(returned: Returned, plan: bytes) -> bool:
    """Whether this plan was built in the call, as far as a device tells."""
    return not returned.evidence.known or any(c["plan"] == digest(plan) for c in returned.evidence.configs)


def _below(folder: GivenPath, path: str) -> str:
    """The name, within the scratch folder, of a file that is in this folder of it."""
    _, inside, file = path.rpartition(f"/{folder.name}/")
    if not inside or not file or ".." in file.split("/"):
        fail(f"cached_build says that the plan is at {path!r:.300}, which is not in the folder that was given")
    return f"{folder.name}/{file}"


# -- shared


def _bytes(value: Any, function: str) -> bytes:
    if not isinstance(value, bytes) or not value:
        fail(f"{function} must return bytes, not {type(value).__name__}")
    return value


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)
