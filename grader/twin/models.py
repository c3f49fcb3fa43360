"""What an ONNX model from a candidate's process may not bring: data that lies in files of this process."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError, Message

#: Bytes that TensorRT's parser refuses too, in its own words.
_NOT_A_MODEL = b"\xff"


def checked(model: bytes) -> bytes:
    """``model``, or bytes that do not parse when it does not. Raises ValueError when tensors lie in other files."""
    if not isinstance(model, bytes):
        raise TypeError(f"the model's bytes are needed, not {type(model).__name__}")
    try:
        proto = onnx.load_from_string(model)
    except DecodeError:
        return _NOT_A_MODEL
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            where = next((e.value for e in tensor.external_data if e.key == "location"), "?")
            raise ValueError(
                f"tensor {tensor.name[:80]!r} keeps its data in another file ({where[:80]!r}): parse_from_file reads"
                " such files, or give parse() the path of the model as well"
            )
    return model


def _tensors(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor anywhere in the model: initializers, attributes, subgraphs, functions, sparse ones."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in [value] if isinstance(value, Message) else value:
            yield from _tensors(part)
