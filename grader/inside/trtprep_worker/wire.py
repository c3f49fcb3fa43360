"""Messages between the processes: JSON for structure, raw bytes for arrays, a bound on everything.

A frame is a 12-byte little-endian header (length of the JSON, number of blobs, how many bytes of blobs are
sent in one piece with it: all or none), the JSON, the blobs' lengths as unsigned 64-bit integers, and the
blobs.  Nothing is ever unpickled and nothing in a frame can name code, so a frame from a process that ran
a candidate's code is only ever data.

Values that cross: None, bool, int, float, str, bytes, NumPy arrays of the dtypes in ``DTYPES``,
lists, tuples, dicts with string keys, and the marked dicts that callers build on top (handles,
enums, files).  Anything else raises `WireError` in the sender, who can say so in its own words.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
_HEADER = struct.Struct("<III")
_TAG = "$"
_MAX_DEPTH = 32
_MAX_RANK = 32
_PLAIN = frozenset((type(None), bool, int, float, str))  # cross as they are
_SMALL = 1 << 16  # bytes of blobs that are copied, to go with their frame in one piece
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=True).encode  # `json.dumps` would make one for each message
_decode = json.JSONDecoder().decode  # `json.loads` would guess the encoding of each


class WireError(ValueError):
    """A value that cannot cross, or a frame that breaks the format or its bounds."""


class Closed(ConnectionError):  # noqa: N818 (it reads as what happened)
    """The other process is gone: the channel ended, in or before a frame."""


@dataclass(frozen=True)
class Bounds:
    """What a receiver accepts. Sizes in bytes."""

    json_bytes: int = 16 << 20
    blob_bytes: int = 1 << 30
    blobs: int = 4096


DEFAULT_BOUNDS = Bounds()


def pack(value: Any) -> tuple[bytes, list[memoryview]]:
    """Split ``value`` into JSON and blobs. Raises WireError for what cannot cross."""
    blobs: list[memoryview] = []
    tree = _lower(value, blobs, 0)
    return _encode(tree).encode(), blobs


def unpack(text: bytes, blobs: list[memoryview]) -> Any:
    """The inverse of `pack`. Raises WireError when the frame is malformed."""
    try:
        tree = _decode(text.decode())
        # Most messages are small and hold nothing that is marked: as they are, they are the value.
        if not blobs and b'"$"' not in text and b"\\" not in text and text.count(b"[") + text.count(b"{") <= _MAX_DEPTH:
            return tree
        return _raise(tree, list(blobs), 0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise WireError(f"malformed frame: {error}") from error


def send(channel: socket.socket, value: Any) -> None:
    """Send one frame. Raises WireError (nothing sent) or Closed."""
    send_packed(channel, *pack(value))


def send_packed(channel: socket.socket, text: bytes, blobs: list[memoryview]) -> None:
    """Send what `pack` returned. Raises Closed."""
    sizes = struct.pack(f"<{len(blobs)}Q", *(b.nbytes for b in blobs)) if blobs else b""
    small = sum(b.nbytes for b in blobs) if blobs else 0
    small = small if small <= _SMALL else 0
    head = b"".join((_HEADER.pack(len(text), len(blobs), small), text, sizes, *(blobs if small else ())))
    try:
        channel.sendall(head)
        for blob in () if small else blobs:
            channel.sendall(blob)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed("the other process closed its channel") from error


def receive(channel: socket.socket, bounds: Bounds = DEFAULT_BOUNDS) -> Any:
    """Receive one frame. Raises WireError when it breaks the format or ``bounds``, Closed at its end."""
    length, count, small = _HEADER.unpack(_exactly(channel, _HEADER.size))
    if length > bounds.json_bytes or count > bounds.blobs or small > _SMALL:
        raise WireError(f"frame too large: {length} bytes of JSON, {count} blobs")
    rest = _exactly(channel, length + 8 * count + small)
    text = bytes(rest[:length])
    if not count:
        return unpack(text, [])
    sizes = struct.unpack_from(f"<{count}Q", rest, length)
    if sum(sizes) > bounds.blob_bytes:
        raise WireError(f"frame too large: {sum(sizes)} bytes of data, at most {bounds.blob_bytes}")
    if not small:
        return unpack(text, [_blob(channel, text, index, size) for index, size in enumerate(sizes)])
    if sum(sizes) != small:
        raise WireError("malformed frame: its blobs are not as long as it says")
    blobs, start = [], length + 8 * count
    for size in sizes:
        blobs.append(memoryview(bytearray(rest[start : start + size])))  # of its own: an array's memory is aligned
        start += size
    return unpack(text, blobs)


def _blob(channel: socket.socket, text: bytes, index: int, size: int) -> memoryview:
    """One blob: where it is large and becomes bytes, it is received as such and not copied."""
    if size > _SMALL and b'{"$":"bytes","blob":%d}' % index in text:
        try:
            data = channel.recv(size, socket.MSG_WAITALL)
        except ConnectionResetError:
            data = b""
        rest = _exactly(channel, size - len(data)) if data else _exactly(channel, size)
        return memoryview(data + rest if len(rest) else data)
    return _exactly(channel, size)


def _exactly(channel: socket.socket, size: int) -> memoryview:
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        try:
            got = channel.recv_into(view[done:] if done else data)
        except ConnectionResetError:
            got = 0
        if got == 0:
            raise Closed("the other process ended")
        done += got
    return view


def _lower(value: Any, blobs: list[memoryview], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise WireError("nested too deeply, or contains itself")
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray):
        return _lower_array(value, blobs)
    if isinstance(value, np.generic):
        return _lower_array(np.asarray(value), blobs) | {"scalar": True}
    if isinstance(value, (bytes, bytearray, memoryview)):
        blobs.append(memoryview(value).cast("B"))
        return {_TAG: "bytes", "blob": len(blobs) - 1}
    if isinstance(value, (list, tuple)):
        items = [item if type(item) in _PLAIN else _lower(item, blobs, depth + 1) for item in value]
        return {_TAG: "tuple", "items": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        named = {}
        for key, item in value.items():
            if type(key) is not str:
                raise WireError("a dict whose keys are not all strings")
            named[key] = item if type(item) in _PLAIN else _lower(item, blobs, depth + 1)
        return {_TAG: "dict", "items": named} if _TAG in value else named
    if isinstance(value, (bool, int, float, str)):  # enums and other subclasses of plain types
        return next(plain(value) for plain in (bool, int, float, str) if isinstance(value, plain))
    raise WireError(f"a value of type {type(value).__module__}.{type(value).__qualname__}")


def _lower_array(array: np.ndarray, blobs: list[memoryview]) -> dict[str, Any]:
    if array.dtype.name not in DTYPES:
        raise WireError(f"an array of dtype {array.dtype}")
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).view(np.ndarray)
    blobs.append(plain.reshape(-1).view(np.uint8).data)
    return {_TAG: "array", "dtype": array.dtype.name, "shape": list(array.shape), "blob": len(blobs) - 1}


def _raise(tree: Any, blobs: list[Any], depth: int) -> Any:
    if depth > 2 * _MAX_DEPTH + 2:
        raise WireError("nested too deeply")
    if isinstance(tree, list):
        return [_raise(item, blobs, depth + 1) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if _TAG not in tree:
        return {key: _raise(item, blobs, depth + 1) for key, item in tree.items()}
    tag = tree[_TAG]
    if tag == "bytes":
        blob = _take(blobs, tree["blob"])
        whole = blob.obj
        return whole if type(whole) is bytes and len(whole) == blob.nbytes else bytes(blob)
    if tag == "tuple":
        return tuple(_raise(item, blobs, depth + 1) for item in tree["items"])
    if tag == "dict":
        return {key: _raise(item, blobs, depth + 1) for key, item in tree["items"].items()}
    if tag == "array":
        return _raise_array(tree, blobs)
    raise WireError(f"unknown tag {tag!r}")


def _raise_array(tree: dict[str, Any], blobs: list[Any]) -> Any:
    shape, name = tree["shape"], tree["dtype"]
    if name not in DTYPES:
        raise WireError(f"unknown dtype {name!r}")
    if not isinstance(shape, list) or len(shape) > _MAX_RANK or not all(type(d) is int and d >= 0 for d in shape):
        raise WireError("bad shape")
    blob, dtype = _take(blobs, tree["blob"]), np.dtype(name)
    if blob.nbytes != math.prod(shape) * dtype.itemsize:
        raise WireError("an array whose bytes do not fit its shape")
    if name == "bool" and np.any(np.ndarray(blob.nbytes, np.uint8, buffer=blob) > 1):
        raise WireError("a bool that is neither 0 nor 1")
    array: np.ndarray = np.ndarray(shape, dtype, buffer=bytearray(blob) if blob.readonly else blob)
    return array[()] if tree.get("scalar") and not shape else array


def _take(blobs: list[Any], index: Any) -> memoryview:
    """A blob is for one value: named again and again, a small frame would become a large object."""
    if type(index) is not int or index < 0:
        raise WireError("bad blob index")
    blob, blobs[index] = blobs[index], None
    if blob is None:
        raise WireError("a blob that is used twice")
    return blob
