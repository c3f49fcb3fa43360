"""What crosses between the processes: every value comes back as it went, and nothing malformed gets in."""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
from typing import Any

import numpy as np
import pytest

from grader.inside.trtprep_worker import wire


def round_trip(value: Any) -> Any:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=wire.send, args=(ours, value))
        sender.start()
        try:
            return wire.receive(theirs)
        finally:
            sender.join()


def frame(tree: Any, blobs: tuple[bytes, ...] = (), *, text: bytes | None = None, small: bool | int = False) -> bytes:
    """``small``: whether the header has the blobs come in one piece with it, or what it says of them."""
    body = json.dumps(tree).encode() if text is None else text
    sizes = struct.pack(f"<{len(blobs)}Q", *map(len, blobs))
    together = sum(map(len, blobs)) if small is True else int(small)
    return struct.pack("<III", len(body), len(blobs), together) + body + sizes + b"".join(blobs)


def received(data: bytes, bounds: wire.Bounds = wire.DEFAULT_BOUNDS) -> Any:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        return wire.receive(theirs, bounds)


@pytest.mark.parametrize("dtype", wire.DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_arrays_of_every_dtype(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    back = round_trip({"a": array})["a"]
    assert isinstance(back, np.ndarray)
    assert (back.dtype, back.shape) == (array.dtype, shape)
    assert np.array_equal(back, array)
    assert back.flags.writeable


@pytest.mark.parametrize("dtype", wire.DTYPES)
def test_scalars_of_numpy_stay_scalars(dtype: str) -> None:
    back = round_trip(np.dtype(dtype).type(1))
    assert isinstance(back, np.generic)
    assert back.dtype == dtype
    assert back == 1


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4)[:, ::2],
        np.arange(12).reshape(3, 4).T,
        np.arange(6)[::-1],
        np.asfortranarray(np.ones((2, 3))),
        np.broadcast_to(np.float32(2), (4, 5)),
        np.arange(3, dtype=">i4"),
    ],
    ids=["strided", "transposed", "reversed", "fortran", "broadcast", "big-endian"],
)
def test_arrays_however_they_lie_in_memory(array: np.ndarray) -> None:
    back = round_trip(array)
    assert np.array_equal(back, array)
    assert back.dtype.name == array.dtype.name


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 1 << 80, 1.5, math.inf, "", "text \u2603 \x00", b"", b"\x00\xff", [], (), {}, [1, (2, [3])],
        {"$": "a tag as a key", "x": {"$": 1}}, {"": None}, ([], ((),)),
    ],
    ids=repr,
)  # fmt: skip
def test_plain_values(value: Any) -> None:
    back = round_trip(value)
    assert back == value
    assert type(back) is type(value)


def test_nan_stays_nan() -> None:
    assert math.isnan(round_trip([math.nan])[0])


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: 2},
        {1, 2},
        1j,
        np.ones(2, complex),
        np.array([None]),
        np.array(["text"]),
        np.zeros(1, "V4"),
        {"f": print},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_cross_is_refused_by_the_sender(value: Any) -> None:
    with pytest.raises(wire.WireError):
        wire.pack(value)


def test_a_list_that_contains_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(wire.WireError, match="nested too deeply"):
        wire.pack(loop)


ARRAY = {"$": "array", "dtype": "uint8", "shape": [2], "blob": 0}


@pytest.mark.parametrize(
    ("tree", "blobs"),
    [
        ({"$": "bytes", "blob": -1}, (b"x",)),
        ({"$": "bytes", "blob": 1}, (b"x",)),
        ({"$": "bytes", "blob": True}, (b"x", b"y")),
        ({"$": "bytes", "blob": 0.0}, (b"x",)),
        ({"$": "bytes", "blob": "0"}, (b"x",)),
        ({"$": "bytes"}, (b"x",)),
        ([{"$": "bytes", "blob": 0}, {"$": "bytes", "blob": 0}], (b"x",)),
        ({"$": "pickle", "blob": 0}, (b"x",)),
        ({"$": None}, ()),
        ({"$": ["array"]}, ()),
        ({"$": "tuple", "items": 3}, ()),
        ({"$": "dict", "items": [1]}, ()),
        ({"$": "dict", "items": "text"}, ()),
        (ARRAY | {"shape": [3]}, (b"xy",)),
        (ARRAY | {"shape": [-2]}, (b"xy",)),
        (ARRAY | {"shape": [-1, -2]}, (b"xy",)),
        (ARRAY | {"shape": [True, 2]}, (b"xy",)),
        (ARRAY | {"shape": [2.0]}, (b"xy",)),
        (ARRAY | {"shape": {"0": 2}}, (b"xy",)),
        (ARRAY | {"shape": "2"}, (b"xy",)),
        (ARRAY | {"shape": 2}, (b"xy",)),
        (ARRAY | {"shape": [0, 1 << 62, 1 << 62]}, (b"",)),
        (ARRAY | {"shape": [0, 1 << 70]}, (b"",)),
        (ARRAY | {"shape": [1] * 33 + [2]}, (b"xy",)),
        (ARRAY | {"shape": [1 << 40]}, (b"xy",)),
        (ARRAY | {"dtype": "object"}, (b"xy",)),
        (ARRAY | {"dtype": "O"}, (b"xy",)),
        (ARRAY | {"dtype": ["uint8"]}, (b"xy",)),
        (ARRAY | {"dtype": "bool"}, (b"\x01\x02",)),
        ({"$": "array"}, (b"xy",)),
    ],
    ids=str,
)
def test_malformed_values_are_refused(tree: Any, blobs: tuple[bytes, ...]) -> None:
    with pytest.raises(wire.WireError):
        received(frame(tree, blobs))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1,]",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[" * 200 + b"]" * 200,
        b'{"a":' * 90 + b"1" + b"}" * 90,
        b"1" * 5000,
    ],
    ids=["nothing", "open", "comma", "not-utf8", "deep", "deep-and-closed", "deep-dicts", "long-number"],
)
def test_text_that_is_no_json_for_us(text: bytes) -> None:
    with pytest.raises(wire.WireError):
        received(frame(None, text=text))


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<III", 0xFFFF_FFFF, 0, 0),
        struct.pack("<III", 0, 0xFFFF_FFFF, 0),
        struct.pack("<III", 0, 0, 0xFFFF_FFFF),
        struct.pack("<III", 4, 1, 0) + b"null" + struct.pack("<Q", 1 << 63),
        struct.pack("<III", 4, 2, 0) + b"null" + struct.pack("<QQ", 1 << 63, 1 << 63),
    ],
    ids=["json", "blobs", "together", "blob", "sum"],
)
def test_lengths_beyond_the_bounds_are_refused_before_anything_is_allocated(head: bytes) -> None:
    with pytest.raises(wire.WireError, match="too large"):
        received(head)


def test_bounds_of_the_receiver() -> None:
    bounds = wire.Bounds(json_bytes=100, blob_bytes=10, blobs=2)
    assert received(frame([{"$": "bytes", "blob": 0}], (b"x" * 10,)), bounds) == [b"x" * 10]
    for data in (
        frame("x" * 100),
        frame(None, (b"x" * 11,)),
        frame(None, (b"x" * 6, b"x" * 5)),
        frame(None, (b"",) * 3),
    ):
        with pytest.raises(wire.WireError, match="too large"):
            received(data, bounds)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("cut", [0, 3, 9, 14, 20, -1])
def test_a_frame_that_ends_early(cut: int, small: bool) -> None:
    with pytest.raises(wire.Closed):
        received(frame({"$": "bytes", "blob": 0}, (b"twelve bytes",), small=small)[:cut])


@pytest.mark.parametrize("small", [1, 11, 13])
def test_blobs_that_are_not_as_long_as_the_header_says_are_refused(small: int) -> None:
    with pytest.raises(wire.WireError, match="not as long"):
        received(frame({"$": "bytes", "blob": 0}, (b"twelve bytes",), small=small) + b"more")


@pytest.mark.parametrize("size", [1, 1 << 16, (1 << 16) + 1])
def test_blobs_of_any_size_come_whole_and_arrays_aligned(size: int) -> None:
    value = [b"x" * size, np.arange(size).astype(np.float64), b""]
    text, data, nothing = round_trip(value)
    assert (text, nothing) == (b"x" * size, b"")
    assert np.array_equal(data, value[1])
    assert data.flags.aligned


def test_a_closed_channel() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(wire.Closed):
        wire.send(ours, np.zeros(1 << 20))
