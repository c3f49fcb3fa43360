"""Reads what TensorRT-RTX's builder logs of the engine that it made: the kernels, and the memory that they need.

With detailed profiling verbosity one verbose record holds, after ``Layers:``, a line for each kernel:

    Name: n, LayerType: t, Inputs: [ { Name: x, Dimensions: [-1,3], ..., Datatype: Float, Format: f }],
    Constants: [...], Outputs: [...], TacticName: c, StreamId: 0, Metadata: [ONNX Layer: a]<0x1f>[ONNX Layer: b]

and then the inputs and outputs of the engine.  Names stand there as they are, unquoted.  They cannot be told from the
record's own words where they hold such words, so a network with such names has no kernels here, but a reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .plan import KernelInfo, PortInfo, Traced

#: How the record starts that holds the kernels.
RECORD = "Layers:\n"
_MEMORY = re.compile(r"Total Activation Memory: (\d+) bytes")
_FIELD = (
    "Name|LayerType|Inputs|Constants|Outputs|TacticName|StreamId|Metadata|Location|Dimensions|Strides|StrideOrder"
    "|Datatype|Format|ParameterType|JumpTarget|JumpTargetThen|JumpTargetElse"
)
#: What a name must not hold, to be read out of the record again.
_UNREADABLE = re.compile(rf"[\n\x1e\x1f]|(?:^|, |{{ )(?:{_FIELD}): ")
_START = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<type>\w+), ")
_PORTS = re.compile(r"(Inputs|Constants|Outputs): \[")
_PORT = re.compile(
    r"{ Name: (?P<name>.*?), (?:Location: \w+, )?Dimensions: \[(?P<shape>[-\d,]*)\], "
    r"(?:Strides: \[[-\d,]*\], StrideOrder: \[[-\d,]*\], )?Datatype: (?P<dtype>\w+), Format: (?P<format>[^{}]*) }"
)
_END = re.compile(
    r"(?:ParameterType: (?P<parameters>.*?), )?Tactic(?:Name|Value): (?P<tactic>.*?), StreamId: (?P<stream>\d+), "
    r"(?:EventId: \d+, )?(?:JumpTarget(?:Then|Else)?: .*?, )*Metadata: (?P<metadata>.*)"
)


class _UnknownFormError(ValueError):
    """The record is not of the form above; the text says where."""


def traced(records: Iterable[str], names: Iterable[str]) -> Traced:
    """What the records of one build tell.

    Args:
        records: the texts that the builder logged.
        names: of the network's layers and tensors, and the layers' metadata.
    """
    texts = list(records)
    memory = [int(found[1]) for text in texts if (found := _MEMORY.fullmatch(text.strip()))]
    bytes_needed = max(memory, default=None)
    if unreadable := next((name for name in names if _UNREADABLE.search(name)), None):
        return Traced((), bytes_needed, f"the name {unreadable!r:.200} cannot be told from the words of the trace")
    told = [text for text in texts if text.startswith(RECORD)]
    if len(told) != 1:
        return Traced((), bytes_needed, f"the builder logged its kernels {len(told)} times")
    try:
        return Traced(kernels(told[0]), bytes_needed)
    except ValueError as error:
        return Traced((), bytes_needed, f"the builder's trace has a form that is not known here: {error}")


def kernels(record: str) -> tuple[KernelInfo, ...]:
    """The kernels of one record, less the calls that compute shapes on the host: they touch no tensor of the device."""
    lines = record[len(RECORD) :].split("\n\n", 1)[0].split("\n")
    found = (_kernel(line) for line in lines)
    return tuple(kernel for kernel in found if kernel.inputs or kernel.outputs)


def _kernel(line: str) -> KernelInfo:
    start = _START.match(line)
    if start is None:
        raise _UnknownFormError(line[:200])
    ports: dict[str, tuple[PortInfo, ...]] = {"Inputs": (), "Outputs": ()}
    at = start.end()
    while side := _PORTS.match(line, at):
        ports[side[1]], at = _ports(line, side.end())
    end = _END.fullmatch(line, at)
    if end is None:
        raise _UnknownFormError(line[at : at + 200])
    return KernelInfo(
        start["name"], start["type"], ports["Inputs"], ports["Outputs"], end["tactic"], int(end["stream"]),
        end["metadata"],
    )  # fmt: skip


def _ports(line: str, at: int) -> tuple[tuple[PortInfo, ...], int]:
    """The ports from ``at`` to the list's end, and where what follows starts."""
    found: list[PortInfo] = []
    while not line.startswith("], ", at):
        at += len(" ") if not found else len(", ")
        port = _PORT.match(line, at)
        if port is None:
            raise _UnknownFormError(line[at : at + 200])
        shape = tuple(int(size) for size in port["shape"].split(",") if size)
        found.append(PortInfo(port["name"], shape, f"{port['dtype']} {port['format']}"))
        at = port.end()
    return tuple(found), at + len("], ")
