"""Caffe's messages, as in `caffe.proto` beside this file: NetParameter, LayerParameter, BlobProto and what they hold.

The classes are made from that file when this module is imported. What a compiler makes of it would be tied to one
version of protobuf; this works with all from 4 on.

    net = caffe_pb2.NetParameter.FromString(data)                           # a caffemodel; raises DecodeError
    text_format.Parse(text, caffe_pb2.NetParameter(), allow_unknown_field=True)  # a prototxt; raises ParseError
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TOKEN = re.compile(
    r'\s*(?:(?P<header>syntax = "proto2"|package \w+);'
    r"|(?P<block>message|enum) (?P<name>\w+) \{"
    r"|(?P<label>optional|repeated) (?P<type>\w+) (?P<field>\w+) = (?P<number>\d+)(?: \[(?P<option>[^\]]+)\])?;"
    r"|(?P<value>\w+) = (?P<means>\d+);"
    r"|(?P<end>\}))\s*"
)


def _file(source: str) -> descriptor_pb2.FileDescriptorProto:
    """What protoc would make of it, for the part of the language that is used here. Raises SyntaxError."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    source, at = re.sub(r"//.*", "", source), 0
    enums = set(re.findall(r"enum (\w+)", source))
    open_blocks: list[Any] = [file]
    while at < len(source):
        token = _TOKEN.match(source, at)
        if token is None:
            raise SyntaxError(f"caffe.proto: {source[at : at + 80]!r}")
        at, inner = token.end(), open_blocks[-1]
        if token["block"] == "message":
            open_blocks.append(inner.message_type.add(name=token["name"]))
        elif token["block"] == "enum":
            open_blocks.append(inner.enum_type.add(name=token["name"]))
        elif token["field"]:
            _add_field(inner, token, enums)
        elif token["value"]:
            inner.value.add(name=token["value"], number=int(token["means"]))
        elif token["end"]:
            open_blocks.pop()
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, token: re.Match[str], enums: set[str]) -> None:
    field = message.field.add(name=token["field"], number=int(token["number"]))
    field.label = _Field.Label.Value(f"LABEL_{token['label'].upper()}")
    scalar = f"TYPE_{token['type'].upper()}"
    if scalar in dict(_Field.Type.items()):
        field.type = _Field.Type.Value(scalar)
    else:
        field.type = _Field.TYPE_ENUM if token["type"] in enums else _Field.TYPE_MESSAGE
        field.type_name = token["type"]
    option, _, value = (token["option"] or "").partition(" = ")
    if option == "default":
        field.default_value = value
    elif option == "packed":
        field.options.packed = value == "true"


def _classes(file: descriptor_pb2.FileDescriptorProto) -> dict[str, Any]:
    """The file's messages and enums by their names, in a pool of their own: nobody else's Caffe is in the way."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return {message.name: find(pool.FindMessageTypeByName(f"caffe.{message.name}")) for message in file.message_type}


globals().update(_classes(_file((Path(__file__).parent / "caffe.proto").read_text(encoding="utf-8"))))
TRAIN, TEST = 0, 1  #: Phase

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
