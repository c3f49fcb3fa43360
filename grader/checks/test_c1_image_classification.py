"""What is asked of an answer to c1_image_classification."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from grader.fixtures.efficientnet import efficientnet_lite0_onnx, reference_logits
from grader.fixtures.imagenet import labels, preprocess_reference
from grader.fixtures.photos import photo
from grader.fixtures.plans import trusted_plan
from grader.fixtures.private.small_networks import SmallNetwork
from grader.fixtures.remembered import remembered
from grader.judging.judge import array, close, expect_raises, fail, fp32, went_through
from grader.plugin import Call, Recorder
from grader.processes.candidate import GivenFile, GivenPath
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest

LEVEL = 1 / 128  # one grey level, after scaling
PROFILE = ((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))
COLOUR = ("chelsea", "coffee", "rocket", "motorcycle")


@pytest.fixture(scope="module")
def plan(runner: Runner, tier: Tier) -> bytes:
    """A trusted plan of EfficientNet-Lite0, so that running is judged apart from building."""
    return trusted_plan(runner, tier, efficientnet_lite0_onnx().read_bytes(), {"images": PROFILE})


@pytest.fixture(scope="module")
def small(runner: Runner, tier: Tier, recorder: Recorder) -> tuple[SmallNetwork, bytes]:
    """A network that only this run knows, and its trusted plan."""
    network = SmallNetwork.draw(np.random.default_rng([recorder.seed, 1]))
    return network, trusted_plan(runner, tier, network.onnx, {network.input: network.profile})


@pytest.fixture
def private_photo(rng: np.random.Generator) -> Callable[..., tuple[GivenFile, np.ndarray]]:
    """Makes a photo that nobody has seen: a random cut of a real one. Returns the file and its BGR pixels."""

    def make(name: str, low: int = 120, high: int = 480) -> tuple[GivenFile, np.ndarray]:
        pixels = _pixels(name)
        height, width = (int(rng.integers(min(low, side - 1), min(high, side))) for side in pixels.shape[:2])
        top, left = int(rng.integers(pixels.shape[0] - height)), int(rng.integers(pixels.shape[1] - width))
        cut = pixels[top : top + height, left : left + width]
        return _png(f"{name}-{height}x{width}.png", cut), cut

    return make


# -- preprocess


@pytest.mark.task("preprocess")
@pytest.mark.parametrize("name", COLOUR)
def test_a_whole_photo_becomes_the_models_own_input(call: Call, name: str) -> None:
    path = photo(name)
    _same_input(call("preprocess", GivenFile(path.name, path.read_bytes())).value, preprocess_reference(path))


@pytest.mark.task("preprocess")
@pytest.mark.parametrize("size", ["larger", "smaller", "tall", "wide"])
def test_any_size_is_scaled_to_256_and_cropped_in_the_middle(call: Call, rng, private_photo, tmp_path, size) -> None:
    _, pixels = private_photo(str(rng.choice(["chelsea", "coffee"])), 200, 280)
    side = int(rng.integers(40, 90))
    shape = {
        "larger": (700 + side, 800 + side),
        "smaller": (side, side + int(rng.integers(5, 40))),
        "tall": (500 + 3 * side, 257 + side),
        "wide": (257 + side, 500 + 3 * side),
    }[size]
    given = _png(f"{size}.png", cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_CUBIC))
    _same_input(call("preprocess", given).value, _reference(given, tmp_path))


@pytest.mark.task("preprocess-modes")
@pytest.mark.parametrize("mode", ["greyscale", "alpha", "16-bit", "rotated by EXIF"])
def test_every_kind_of_image_file_is_read_as_8_bit_rgb(call: Call, private_photo, rng, tmp_path, mode) -> None:
    _, pixels = private_photo("coffee")
    if mode == "greyscale":
        given = _png("grey.png", cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))
    elif mode == "alpha":
        alpha = rng.integers(0, 256, (*pixels.shape[:2], 1), dtype=np.uint8)
        given = _png("alpha.png", np.concatenate([pixels, alpha], axis=2))
    elif mode == "16-bit":
        given = _png("deep.png", pixels.astype(np.uint16) * 257)
    else:
        given = GivenFile("rotated.jpg", _with_orientation(cv2.imencode(".jpg", pixels)[1].tobytes(), 6))
    _same_input(call("preprocess", given).value, _reference(given, tmp_path), f" ({mode})")


def _same_input(value: Any, want: np.ndarray, kind: str = "") -> None:
    got = array(value, f"the result of preprocess{kind}", dtype="float32", shape=want.shape)
    difference = np.abs(got.astype(np.float64) - want)
    # A resize in uint8 rounds to whole levels: half a level, and OpenCV's fixed-point weights a little more.
    if difference.max() <= 1.01 * LEVEL and difference.mean() <= 0.4 * LEVEL:
        return
    what = f"differs by {difference.mean() / LEVEL:.1f} grey levels on average, {difference.max() / LEVEL:.0f} at most"
    fail(f"the result of preprocess{kind} {what}{_diagnose(got, want)}")


def _diagnose(got: np.ndarray, want: np.ndarray) -> str:
    """The usual mistakes, recognised by undoing them."""
    guesses = {
        "the channels are in BGR order": got[:, ::-1],
        "the scale is x / 255": (got * 255 - 127) / 128,
        "the scale is x / 127.5 - 1": ((got + 1) * 127.5 - 127) / 128,
        "the pixels are not scaled": (got - 127) / 128,
        "the scale is that of torchvision (ImageNet mean and deviation)": _from_torchvision(got),
        "the image is mirrored": got[..., ::-1],
        "the image is transposed": got.swapaxes(2, 3),
        "the subtraction wrapped around: convert to float before subtracting": ((got * 128 + 127) % 256 - 127) / 128,
        "the image is turned by a quarter (is its EXIF orientation ignored?)": _turned(got, want),
    }
    for words, fixed in guesses.items():
        error = np.abs(fixed - want).mean()
        if error <= 0.6 * LEVEL and error <= 0.5 * np.abs(got - want).mean():
            return f": {words}"
    return ": check the resize (shorter side to 256, bilinear), the crop, the colour order and the scale, in this order"


def _turned(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """``got`` turned by whichever quarter comes closer; where crops round, the middle moves by a pixel."""
    shifts = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
    turned = [np.roll(np.rot90(got, turn, (2, 3)), shift, (2, 3)) for turn in (1, -1) for shift in shifts]
    return min(turned, key=lambda candidate: float(np.abs(candidate - want).mean()))


def _from_torchvision(got: np.ndarray) -> np.ndarray:
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = (got * deviation[:, None, None] + mean[:, None, None]) * 255
    return (pixels - 127) / 128


# -- build


@pytest.mark.task("build-fp32")
def test_efficientnet_becomes_an_engine_that_agrees_with_onnx_runtime(
    call: Call, runner: Runner, tier: Tier, rng
) -> None:
    built = call("build_engine", GivenFile("model.onnx", efficientnet_lite0_onnx().read_bytes()), seconds=30).value
    _takes_batches(runner, _plan(built), "images")
    images = _private_images(rng, 4)
    want = reference_logits(images)
    for order in (rng.integers(4, size=1), rng.integers(4, size=9)):
        logits = runner.run(built, {"images": images[order]})["logits"]
        close(logits, want[order], f"the engine's output for a batch of {len(order)}", within=fp32(tier))


@pytest.mark.task("build-fp32")
def test_a_model_with_other_names_and_shapes_builds_as_well(call: Call, runner: Runner, tier: Tier, rng) -> None:
    network = SmallNetwork.draw(rng)
    built = _plan(call("build_engine", GivenFile("other.onnx", network.onnx)).value)
    _takes_batches(runner, built, network.input)
    for size in (int(rng.integers(2, 32)), 32):
        batch = network.inputs(rng, size)
        got = runner.run(built, {network.input: batch})[network.output]
        what = f"the output of an engine of another model for a batch of {size}"
        close(got, network.expected(batch), what, within=fp32(tier))


@pytest.mark.task("build-fp32")
@pytest.mark.parametrize("kind", ["truncated", "unknown operator"])
def test_a_file_that_does_not_parse_is_a_value_error(call: Call, rng, kind: str) -> None:
    network = SmallNetwork.draw(rng)
    call("build_engine", GivenFile("good.onnx", network.onnx))
    bad = network.onnx[: len(network.onnx) // 2] if kind == "truncated" else network.with_unknown_operator()
    with expect_raises("ValueError", f"build_engine of a model that TensorRT cannot parse ({kind})"):
        call("build_engine", GivenFile("bad.onnx", bad))


@pytest.mark.task("build-fp16")
def test_fp16_computes_in_float16_between_float32_inputs_and_outputs(
    call: Call, runner: Runner, tier: Tier, rng
) -> None:
    model = GivenFile("model.onnx", efficientnet_lite0_onnx().read_bytes())
    built = _plan(call("build_engine", model, fp16=True, seconds=30).value)
    _takes_batches(runner, built, "images")
    precisions = [p for _, kind, p in runner.inspect(built).layers if kind == "CONVOLUTION"]
    if precisions.count("HALF") < 0.9 * len(precisions):
        fail(f"only {precisions.count('HALF')} of {len(precisions)} convolutions compute in float16")
    images = _private_images(rng, 4)
    logits, want = runner.run(built, {"images": images})["logits"], reference_logits(images)
    error = close(logits, want, "the engine's output", within=1e-2)
    if error < 1e-4:
        fail("the engine's output is as exact as float32's: float16 arithmetic would show")


def _plan(value: Any) -> bytes:
    if not isinstance(value, bytes) or not value:
        fail(f"build_engine must return the serialized plan as bytes, not {type(value).__name__}")
    return value


def _takes_batches(runner: Runner, plan: bytes, name: str) -> None:
    tensors = runner.inspect(plan).tensors
    names = [t.name for t in tensors if t.is_input]
    if names != [name]:
        fail(f"the engine's inputs are {names}, the model's is {name!r}")
    for tensor in tensors:
        if tensor.dtype != "FLOAT":
            fail(f"the engine's tensor {tensor.name!r} is {tensor.dtype}; inputs and outputs stay float32")
        if tensor.is_input and not any(low[0] <= 1 and high[0] >= 32 for low, _, high in tensor.profiles):
            ranges = (
                ", ".join(f"{low[0]} to {high[0]}" for low, _, high in tensor.profiles) or f"{tensor.shape[0]} alone"
            )
            fail(f"the engine takes batches of {ranges}, asked for are 1 to 32")


# -- run


@pytest.mark.task("run")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_unknown_engine_runs_by_its_own_names_shapes_and_types(call: Call, runner, tier, rng, dtype) -> None:
    network = SmallNetwork.draw(rng, dtype)
    unknown = trusted_plan(runner, tier, network.onnx, {network.input: network.profile})
    for size in (int(rng.integers(2, 31)), 1, 32):
        batch = network.inputs(rng, size)
        returned = call("run_engine", unknown, batch)
        want = network.expected(batch)
        got = array(returned.value, f"the result of run_engine for a batch of {size}", dtype=dtype, shape=want.shape)
        close(got, want, "the result of run_engine", within=1e-2 if dtype == "float16" else fp32(tier))
        went_through(returned, digest(unknown), batch)


@pytest.mark.task("run")
def test_efficientnet_runs_on_private_images(call: Call, tier: Tier, plan: bytes, rng) -> None:
    images = _private_images(rng, int(rng.integers(2, 8)))
    returned = call("run_engine", plan, images)
    got = array(returned.value, "the result of run_engine", dtype="float32", shape=(len(images), 1000))
    close(got, reference_logits(images), "the result of run_engine", within=fp32(tier))
    went_through(returned, digest(plan), images)


@pytest.mark.task("run")
def test_a_batch_outside_the_profile_is_a_value_error(call: Call, small: tuple[SmallNetwork, bytes], rng) -> None:
    network, engine = small
    call("run_engine", engine, network.inputs(rng, 32))
    with expect_raises("ValueError", "run_engine with a batch of 33 in an engine for 1 to 32"):
        call("run_engine", engine, network.inputs(rng, 33))


# -- classify


@pytest.mark.task("classify")
@pytest.mark.parametrize("count", [1, 33])
def test_photos_are_named_with_probabilities_in_full_batches(
    call, runner, tier, plan, rng, private_photo, tmp_path, count
) -> None:
    logits_of: Callable[[np.ndarray], np.ndarray] = reference_logits
    if count > 32:  # how photos are batched shows as well with a classifier that costs next to nothing
        network = SmallNetwork.classifier(rng)
        plan, logits_of = trusted_plan(runner, tier, network.onnx, {network.input: network.profile}), network.expected
    drawn = [private_photo(str(rng.choice(COLOUR)), 260, 300)[0] for _ in range(min(count, 5))]
    photos = [GivenFile(f"{number}-{file.name}", file.data) for number, file in enumerate(drawn)]
    photos = [photos[i] for i in rng.integers(len(photos), size=count)]
    names = [f"{label} ({rng.integers(10**6)})" for label in labels()]
    k = int(rng.integers(2, 8))
    returned = call("classify", plan, photos, names, k)
    rows = returned.value
    if not isinstance(rows, (list, tuple)) or len(rows) != count:
        fail(f"classify of {count} photos must return a list of {count} lists")
    inputs = {file.name: _in_whole_levels(_reference(file, tmp_path)) for file in photos}
    want = dict(zip(inputs, _softmax(logits_of(np.concatenate(list(inputs.values())))), strict=True))
    for file, row in zip(photos, rows, strict=True):
        _names_the_best(row, dict(zip(names, want[file.name].tolist(), strict=True)), k, file.name)
    runs = [run for run in returned.evidence.runs if run["plan"] == digest(plan)]
    if returned.evidence.known and not 1 <= len(runs) <= -(-count // 32):
        fail(f"{count} photos took {len(runs)} runs of the engine; batches of up to 32 need {-(-count // 32)}")
    if returned.evidence.known:
        _saw_photos(runs, inputs)


def _saw_photos(runs: list[dict[str, Any]], inputs: dict[str, np.ndarray]) -> None:
    """Each photo went through the engine, preprocessed as well as its answer shows: that is judged by other tasks."""
    seen = [item for run in runs for batch in run["inputs"].values() for item in batch]
    for name, want in inputs.items():
        if not any(np.abs(item.astype(np.float64) - want[0]).mean() <= 0.1 for item in seen):
            fail(f"the engine ran, but not on {name}")


def _names_the_best(row: Any, want: dict[str, float], k: int, photo_name: str) -> None:
    rows = row if isinstance(row, (list, tuple)) else []
    pairs = [tuple(pair) for pair in rows if isinstance(pair, (list, tuple)) and len(pair) == 2]
    if len(pairs) != k or not all(isinstance(a, str) and isinstance(p, (float, np.floating)) for a, p in pairs):
        what = f"{k} pairs of a label and a float, likeliest first"
        fail(f"for {photo_name}, classify must return {what}; it gave {row!r:.200}")
    if unknown := [label for label, _ in pairs if label not in want]:
        fail(f"for {photo_name}, {unknown[0]!r} is not one of the labels that were given")
    if len({label for label, _ in pairs}) != k:
        fail(f"for {photo_name}, a label occurs twice")
    chances = [p for _, p in pairs]
    if sorted(chances, reverse=True) != chances:
        fail(f"for {photo_name}, the likeliest class does not come first: {chances}")
    for label, chance in pairs:
        if not abs(chance - want[label]) <= 0.05:
            wanted = f"expected {want[label]:.3f} (softmax over all classes)"
            fail(f"for {photo_name}, {label!r} has probability {chance:.3f}, {wanted}")
    worst = sorted(want.values(), reverse=True)[k - 1]
    if min(want[label] for label, _ in pairs) < worst - 0.05:
        fail(f"for {photo_name}, likelier classes than {pairs[-1][0]!r} were left out")


# -- unusable input


@pytest.mark.task("bad-photo")
@pytest.mark.parametrize("kind", ["missing", "text", "empty", "truncated"])
def test_a_file_that_is_no_photo_raises_what_the_docstring_says(call: Call, private_photo, kind) -> None:
    good, _ = private_photo("rocket")
    call("preprocess", good)
    if kind == "missing":
        with expect_raises("FileNotFoundError", "preprocess of a path where nothing is"):
            call("preprocess", GivenPath("nothing-here.jpg"))
        return
    data = {"text": b"these are words, not pixels\n" * 20, "empty": b"", "truncated": good.data[:60]}[kind]
    with expect_raises("ValueError", f"preprocess of a file that is no image ({kind})"):
        call("preprocess", GivenFile(f"{kind}.png", data))


@pytest.mark.task("bad-plan")
@pytest.mark.parametrize("kind", ["random", "truncated", "altered", "empty"])
def test_a_plan_that_tensorrt_refuses_is_a_value_error(call: Call, small, tier: Tier, rng, kind) -> None:
    if kind == "altered" and tier.name != "twin":
        return  # TensorRT itself does not promise to notice one changed byte
    network, good = small
    batch = network.inputs(rng, 2)
    returned, want = call("run_engine", good, batch), network.expected(batch)
    got = array(returned.value, "the result for the good plan", dtype="float32", shape=want.shape)
    close(got, want, "the result for the good plan", within=fp32(tier))
    went_through(returned, digest(good), batch)
    at = int(rng.integers(len(good) // 4, len(good) // 2))
    altered = good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :]
    bad = {"random": rng.bytes(4000), "truncated": good[: len(good) // 2], "altered": altered, "empty": b""}[kind]
    with expect_raises("ValueError", f"run_engine with a plan that TensorRT cannot load ({kind})"):
        call("run_engine", bad, batch)


# -- shared


@functools.cache
def _pixels(name: str) -> np.ndarray:
    """A photo's, in BGR order."""
    return np.asarray(cv2.imread(str(photo(name))))


def _png(name: str, pixels: np.ndarray) -> GivenFile:
    data = remembered("png", pixels, lambda: cv2.imencode(".png", pixels)[1].tobytes())
    return GivenFile(name, data)


def _reference(given: GivenFile, folder) -> np.ndarray:
    path = folder / given.name
    path.write_bytes(given.data)
    return preprocess_reference(path)


def _in_whole_levels(images: np.ndarray) -> np.ndarray:
    """What a resize in uint8 gives: a photo between two classes is sensitive even to half a grey level."""
    return ((np.rint(images * 128 + 127) - 127) / 128).astype(np.float32)


def _private_images(rng: np.random.Generator, batch: int) -> np.ndarray:
    """Model inputs nobody has seen: real photos, shifted and mixed. float32 [batch, 3, 224, 224]."""
    real = np.concatenate([preprocess_reference(photo(name)) for name in COLOUR])
    first, second = real[rng.integers(len(real), size=batch)], real[rng.integers(len(real), size=batch)]
    weight = rng.uniform(0.5, 1, (batch, 1, 1, 1)).astype(np.float32)
    mixed = weight * first + (1 - weight) * np.roll(second, int(rng.integers(1, 224)), axis=3)
    return np.ascontiguousarray(mixed + rng.normal(0, 0.02, mixed.shape), dtype=np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """``jpeg`` with an EXIF block that says how it is turned (EXIF 2.3, tag 0x0112)."""
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00" + orientation.to_bytes(2, "little") + b"\x00\x00"
    tiff = b"II*\x00\x08\x00\x00\x00" + b"\x01\x00" + entry + b"\x00\x00\x00\x00"
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]
