"""The twin's plan: TensorRT-RTX's own plan, then the network that was walked, then a seal.

    plan bytes | network (an ONNX ModelProto) | description (JSON) | footer

The footer holds the three lengths, the format's version and an HMAC-SHA256 of these and of the
SHA-256 of all before it: one pass over the bytes gives the seal and the plan's name.  In a graded run
the key is drawn for the run and known to the device, the engine runner and the grader alone, so only
a plan that this run's real builder made is accepted; elsewhere the key is empty and the seal is an
integrity check.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from dataclasses import asdict, dataclass

MAGIC = b"trtprep-twin"
VERSION = 4
_FOOTER = struct.Struct("<QQQI32s12s")


class PlanError(ValueError):
    """The bytes are not a plan that this device can load; the text says why."""


@dataclass(frozen=True)
class IOTensor:
    """A network input or output. ``shape`` has -1 where dynamic; ``dtype`` is a `trt.DataType` name.

    ``is_shape``: an input whose values decide shapes and lie on the host; its profiles are of values.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_input: bool
    is_shape: bool = False


@dataclass(frozen=True)
class LayerInfo:
    name: str
    type: str
    precision: str


@dataclass(frozen=True)
class PortInfo:
    """A tensor that a kernel reads or writes: -1 where dynamic, dtype and memory layout in ``format``."""

    name: str
    shape: tuple[int, ...]
    format: str

    @classmethod
    def from_data(cls, data: dict) -> PortInfo:
        return cls(data["name"], tuple(data["shape"]), data["format"])


@dataclass(frozen=True)
class KernelInfo:
    """A kernel of the real engine, as its builder told of it."""

    name: str
    type: str
    inputs: tuple[PortInfo, ...]
    outputs: tuple[PortInfo, ...]
    tactic: str
    stream: int
    metadata: str

    @classmethod
    def from_data(cls, data: dict) -> KernelInfo:
        inputs, outputs = (tuple(map(PortInfo.from_data, data[side])) for side in ("inputs", "outputs"))
        return cls(data["name"], data["type"], inputs, outputs, data["tactic"], data["stream"], data["metadata"])


@dataclass(frozen=True)
class Traced:
    """What the builder's own log tells of the engine; ``problem`` says why there are no kernels.

    ``activation_bytes`` is the memory that one execution context needs, None where the log does not say.
    """

    kernels: tuple[KernelInfo, ...] = ()
    activation_bytes: int | None = None
    problem: str = ""

    @classmethod
    def from_data(cls, data: dict) -> Traced:
        return cls(tuple(map(KernelInfo.from_data, data["kernels"])), data["activation_bytes"], data["problem"])


@dataclass(frozen=True)
class Description:
    """What the runtime must know of an engine; ``profiles`` maps input name -> (min, opt, max) each.

    ``layers`` are the network's, ``traced`` the engine's. ``verbosity`` is the name of the `trt.ProfilingVerbosity`
    that was asked for; ``user_memory``: whether every context needs memory of the caller's (REQUIRE_USER_ALLOCATION).
    """

    name: str
    tensorrt: str
    io: tuple[IOTensor, ...]
    profiles: tuple[dict[str, tuple[tuple[int, ...], ...]], ...]
    layers: tuple[LayerInfo, ...]
    traced: Traced = Traced()
    verbosity: str = "LAYER_NAMES_ONLY"
    user_memory: bool = False

    @classmethod
    def from_data(cls, data: dict) -> Description:
        return cls(
            data["name"],
            data["tensorrt"],
            tuple(IOTensor(**t | {"shape": tuple(t["shape"])}) for t in data["io"]),
            tuple({k: tuple(map(tuple, v)) for k, v in p.items()} for p in data["profiles"]),
            tuple(LayerInfo(**layer) for layer in data["layers"]),
            Traced.from_data(data["traced"]),
            data["verbosity"],
            data["user_memory"],
        )


@dataclass(frozen=True)
class Plan:
    engine: bytes | memoryview  #: TensorRT-RTX's serialized engine
    network: bytes  #: ONNX
    description: Description


def seal(plan: Plan, key: bytes) -> bytes:
    """The bytes of ``plan`` under ``key``."""
    return sealed(plan, key)[0]


def sealed(plan: Plan, key: bytes) -> tuple[bytes, str]:
    """The bytes of ``plan`` under ``key``, and their `digest`."""
    text = json.dumps(asdict(plan.description), separators=(",", ":")).encode()
    numbers = (len(plan.engine), len(plan.network), len(text), VERSION)
    hashed = hashlib.sha256(plan.engine)
    hashed.update(plan.network)
    hashed.update(text)
    footer = _FOOTER.pack(*numbers, _mac(key, hashed.digest(), numbers), MAGIC)
    hashed.update(footer)
    return b"".join((plan.engine, plan.network, text, footer)), hashed.hexdigest()


def content_digest(data: bytes) -> bytes:
    """SHA-256 of a plan without its seal."""
    return hashlib.sha256(memoryview(data)[: -_FOOTER.size]).digest()


def seal_again(data: bytes, content: bytes, key: bytes) -> bytes:
    """A plan of which the caller knows that it is good, with the seal of another key. ``content``: `content_digest`."""
    *numbers, _, magic = _FOOTER.unpack(data[-_FOOTER.size :])
    footer = _FOOTER.pack(*numbers, _mac(key, content, tuple(numbers)), magic)
    return b"".join((memoryview(data)[: -_FOOTER.size], footer))


class Sealed:
    """Bytes that may be a plan, of which one pass has found the name and what its seal must fit."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        body = max(0, len(data) - _FOOTER.size)
        hashed = hashlib.sha256(memoryview(data)[:body])
        self._content = hashed.digest()
        hashed.update(data[body:])
        self.digest = hashed.hexdigest()  #: see `digest`

    def open(self, key: bytes, tensorrt: str) -> Plan:
        """The inverse of `seal`. Raises PlanError: not a plan, truncated, altered, or another version's."""
        data = self._data
        if not data:
            raise PlanError("the plan is empty: was its file written, and read in binary mode?")
        if len(data) < _FOOTER.size or not data.endswith(MAGIC):
            if b"vtrt" in data[:64] or b"ftrt" in data[:64]:
                raise PlanError("the plan is truncated, or was not built by this twin")
            raise PlanError("these bytes are not a TensorRT plan (magic tag not found)")
        *lengths, version, mac, _ = _FOOTER.unpack(data[-_FOOTER.size :])
        if version != VERSION:
            raise PlanError(f"the plan has format {version}, this twin reads format {VERSION}: build it again")
        if sum(lengths) != len(data) - _FOOTER.size:
            raise PlanError("the plan is truncated: build it again")
        if not hmac.compare_digest(mac, _mac(key, self._content, (*lengths, version))):
            raise PlanError("the plan was altered, or was not built in this run: build it again")
        ends = (lengths[0], lengths[0] + lengths[1])
        description = Description.from_data(json.loads(data[ends[1] : -_FOOTER.size]))
        if description.tensorrt != tensorrt:
            raise PlanError(
                f"the plan was built by TensorRT-RTX {description.tensorrt}, this is {tensorrt}: build it again"
            )
        return Plan(data[: ends[0]], data[ends[0] : ends[1]], description)


def unseal(data: bytes, key: bytes, tensorrt: str) -> Plan:
    """`Sealed.open` of bytes that nobody has looked at. Raises PlanError."""
    return Sealed(data).open(key, tensorrt)


def digest(data: bytes) -> str:
    """The name of a plan in the device's log: SHA-256 of its bytes."""
    global _last
    if type(data) is not bytes:
        return hashlib.sha256(data).hexdigest()
    if data is not _last[0]:  # checks ask several times for the name of the same one
        _last = data, hashlib.sha256(data).hexdigest()
    return _last[1]


_last = b"", hashlib.sha256().hexdigest()


def _mac(key: bytes, content: bytes, numbers: tuple[int, ...]) -> bytes:
    return hmac.digest(key, struct.pack("<QQQI", *numbers) + content, hashlib.sha256)
