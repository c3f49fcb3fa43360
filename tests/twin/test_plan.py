"""The twin's plan: what was sealed is what is opened, and nothing else opens."""

from __future__ import annotations

import random
import struct

import pytest

from grader.twin.plan import (
    MAGIC,
    Description,
    IOTensor,
    KernelInfo,
    LayerInfo,
    Plan,
    PlanError,
    PortInfo,
    Traced,
    digest,
    seal,
    unseal,
)

VERSION = "1.2.3"
DESCRIPTION = Description(
    "network",
    VERSION,
    (IOTensor("x", "FLOAT", (-1, 3), True), IOTensor("y", "HALF", (), False)),
    ({"x": ((1, 3), (2, 3), (4, 3))}, {}),
    (LayerInfo("layer", "SOFTMAX", "FLOAT"),),
    Traced(
        (KernelInfo("k", "kgen", (PortInfo("x", (-1, 3), "Float"),), (PortInfo("y", (), "Half"),), "t", 1, "\x1f"),),
        4096,
        "why not",
    ),
    "DETAILED",
    True,
)
PLAN = Plan(b"engine" * 20, b"network" * 20, DESCRIPTION)
KEY = b"k" * 32


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize("plan", [PLAN, Plan(b"", b"", Description("", VERSION, (), (), ()))])
def test_round_trip(plan: Plan, key: bytes) -> None:
    assert unseal(seal(plan, key), key, VERSION) == plan


def test_every_single_byte_counts() -> None:
    sealed = seal(PLAN, KEY)
    for at in range(len(sealed)):
        altered = bytearray(sealed)
        altered[at] ^= 0x40
        with pytest.raises(PlanError):
            unseal(bytes(altered), KEY, VERSION)


def test_every_truncation_is_refused() -> None:
    sealed = seal(PLAN, KEY)
    for length in range(len(sealed)):
        with pytest.raises(PlanError):
            unseal(sealed[:length], KEY, VERSION)
        with pytest.raises(PlanError):
            unseal(sealed[length + 1 :], KEY, VERSION)


@pytest.mark.parametrize("more", [b"\0", b"x" * 100, MAGIC])
def test_more_than_a_plan_is_refused(more: bytes) -> None:
    sealed = seal(PLAN, KEY)
    for data in (sealed + more, more + sealed):
        with pytest.raises(PlanError):
            unseal(data, KEY, VERSION)


@pytest.mark.parametrize("key", [b"", b"other", KEY[:-1]])
def test_another_runs_key(key: bytes) -> None:
    with pytest.raises(PlanError, match="altered, or was not built in this run"):
        unseal(seal(PLAN, KEY), key, VERSION)
    with pytest.raises(PlanError, match="altered, or was not built in this run"):
        unseal(seal(PLAN, key), KEY, VERSION)


def test_another_version_of_tensorrt() -> None:
    with pytest.raises(PlanError, match=r"built by TensorRT-RTX 1\.2\.3, this is 9"):
        unseal(seal(PLAN, KEY), KEY, "9")


def test_another_version_of_the_format() -> None:
    sealed = bytearray(seal(PLAN, KEY))
    at = len(sealed) - struct.calcsize("<I32s12s")
    sealed[at : at + 4] = struct.pack("<I", 7)
    with pytest.raises(PlanError, match="format 7"):
        unseal(bytes(sealed), KEY, VERSION)


def test_lengths_that_lie() -> None:
    """The parts cannot be shifted against each other either: the seal covers the lengths."""
    sealed = bytearray(seal(PLAN, KEY))
    at = len(sealed) - struct.calcsize("<QQQI32s12s")
    first, second, third = struct.unpack_from("<QQQ", sealed, at)
    for lengths in ((first - 1, second + 1, third), (first + 1, second, third), (1 << 63, 1 << 63, third), (0, 0, 0)):
        struct.pack_into("<QQQ", sealed, at, *lengths)
        with pytest.raises(PlanError):
            unseal(bytes(sealed), KEY, VERSION)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"ftrt" + b"x" * 200, "truncated, or was not built by this twin"),
        (b"PK\x03\x04" * 60, "magic tag not found"),
    ],
)
def test_what_is_no_plan(data: bytes, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        unseal(data, KEY, VERSION)


def test_random_bytes() -> None:
    source = random.Random(0)
    for _ in range(200):
        data = source.randbytes(source.randrange(300))
        for tail in (b"", MAGIC):
            with pytest.raises(PlanError):
                unseal(data + tail, b"", VERSION)


def test_digests_name_plans() -> None:
    assert digest(seal(PLAN, KEY)) == digest(seal(PLAN, KEY)) != digest(seal(PLAN, b""))
