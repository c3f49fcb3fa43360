"""The twin's device memory."""

from __future__ import annotations

import numpy as np
import pytest

from grader.inside.trtprep_worker.poison import POISON, poison
from grader.twin.memory import MOST_BYTES, Memory, Span
from grader.twin.misuse import Misuse


@pytest.fixture
def memory() -> Memory:
    return Memory()


def fill(span: Span, value: int, dtype: str = "") -> None:
    span.write(np.full(span.size, value, np.uint8), dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_poison_is_nan_at_every_even_offset(dtype: type) -> None:
    raw = poison(64)
    for offset in range(0, 16, 2):
        assert np.isnan(raw[offset : offset + 32].view(dtype)).all()
    assert np.isnan((np.frombuffer(POISON * 2, np.uint16).astype(np.uint32) << 16).view(np.float32)).all()  # bfloat16


def test_addresses_are_aligned_apart_and_never_used_again(memory: Memory) -> None:
    seen = []
    for size in (1, 511, 512, 513, 100_000):
        allocation = memory.allocate(size, "a.py:1")
        assert allocation.address % 512 == 0
        assert all(allocation.address >= other.end + 1000 for other in seen)
        seen.append(allocation)
        memory.free(allocation.address, "a.py:2")
    assert memory.used_bytes == 0
    assert memory.live() == []


def test_what_was_not_written_reads_as_poison(memory: Memory) -> None:
    address = memory.allocate(8, "").address
    whole, middle = memory.span(address, 8, "x"), memory.span(address + 2, 4, "x")
    assert not whole.written
    fill(middle, 7)
    assert middle.written
    assert not whole.written
    assert whole.read().tolist() == [*poison(2), 7, 7, 7, 7, *poison(2)]
    middle.unwrite()
    assert whole.read().tolist() == poison(8).tolist()


def test_the_dtype_of_every_part_is_known(memory: Memory) -> None:
    address = memory.allocate(16, "").address
    whole = memory.span(address, 16, "x")
    fill(whole, 1, "float32")
    assert whole.foreign("float32") == ""
    fill(memory.span(address + 4, 4, "x"), 2, "int32")
    assert whole.foreign("float32") == "int32"
    assert whole.parts() == [(0, 4, "float32"), (4, 8, "int32"), (8, 16, "float32")]
    assert whole.written
    fill(memory.span(address + 2, 8, "x"), 3, "uint8")
    assert whole.foreign("float32") == ""
    other = memory.span(memory.allocate(12, "").address, 12, "x")
    other.copy_from(memory.span(address + 4, 12, "x"))
    assert other.parts() == [(0, 6, "uint8"), (6, 12, "float32")]


def test_copying_what_was_not_written_copies_that_too(memory: Memory) -> None:
    source, target = (memory.span(memory.allocate(8, "").address, 8, "x") for _ in range(2))
    fill(target, 1)
    fill(Span(source.allocation, 0, 4), 2)
    target.copy_from(source)
    assert target.parts() == [(0, 4, "")]


@pytest.mark.parametrize(
    ("at", "size", "kind", "says"),
    [
        (0, 9, "too-small", "needs 9 bytes, but only 8 are left of the 8 bytes allocated at a.py:1"),
        (7, 2, "too-small", "only 1 are left"),
        (8, 1, "address", "which is not device memory"),
        (-1, 1, "address", "which is not device memory"),
        (0, -1, "alloc", "at a time"),
        (0, MOST_BYTES + 1, "alloc", "at a time"),
    ],
)
def test_addresses_that_are_no_good(memory: Memory, at: int, size: int, kind: str, says: str) -> None:
    allocation = memory.allocate(8, "a.py:1")
    with pytest.raises(Misuse, match=says) as caught:
        memory.span(allocation.address + at, size, "what")
    assert caught.value.kind == kind
    assert caught.value.message.startswith("what")
    assert memory.span(allocation.address, 8, "what").size == 8


@pytest.mark.parametrize("address", [0, 1, -5, 1 << 63, 0x7FFF_0000_0000])
def test_addresses_of_nothing(memory: Memory, address: int) -> None:
    memory.allocate(8, "")
    with pytest.raises(Misuse, match="null" if address == 0 else "not device memory"):
        memory.span(address, 1, "x")
    with pytest.raises(Misuse, match="not the start"):
        memory.free(address, "")


def test_freed_memory(memory: Memory) -> None:
    allocation = memory.allocate(8, "a.py:1")
    with pytest.raises(Misuse, match="not the start"):
        memory.free(allocation.address + 1, "a.py:2")
    memory.free(allocation.address, "a.py:3")
    with pytest.raises(Misuse, match=r"was freed at a\.py:3") as caught:
        memory.span(allocation.address, 8, "x")
    assert caught.value.kind == "freed"
    with pytest.raises(Misuse, match=r"freed twice, first at a\.py:3"):
        memory.free(allocation.address, "a.py:4")


def test_the_device_is_full_at_some_point() -> None:
    memory = Memory(100)
    first = memory.allocate(60, "")
    with pytest.raises(Misuse, match="40 of 100 bytes are free") as caught:
        memory.allocate(41, "")
    assert "out of memory" in caught.value.error
    memory.free(first.address, "")
    assert memory.allocate(100, "").size == 100


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_below_one(memory: Memory, size: int) -> None:
    with pytest.raises(Misuse, match="at least 1 byte"):
        memory.allocate(size, "")


def test_spans_overlap_only_where_they_share_bytes(memory: Memory) -> None:
    a, b = memory.allocate(8, ""), memory.allocate(8, "")
    assert Span(a, 0, 4).overlaps(Span(a, 3, 1))
    assert not Span(a, 0, 4).overlaps(Span(a, 4, 4))
    assert not Span(a, 0, 4).overlaps(Span(a, 2, 0))
    assert not Span(a, 0, 8).overlaps(Span(b, 0, 8))
