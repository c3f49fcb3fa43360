"""What host code did wrong, in words: every finding of the twin is one of these."""

from __future__ import annotations

from dataclasses import dataclass

#: Every kind of finding, and what it means.
KINDS = {
    "address": "a null address, a host address, or any other that is not device memory",
    "alignment": "a tensor's address that is not a multiple of 256",
    "alloc": "an allocation of no bytes, or of more than there are",
    "between-calls": "use of TensorRT or the device by a thread that outlives its call",
    "bindings": "execute_v2 with another number of addresses than the engine has tensors",
    "capture": "a call that stream capture forbids, or a capture that ends where it must not",
    "context-memory": "a context that was given no device memory to compute in, or memory that it does not take",
    "context": "no CUDA context is current, another one than the engine was loaded in, or one that is never popped",
    "crash": "a call that ends the process on a GPU's machine",
    "dtype": "bytes of another dtype than the tensor or the host array has",
    "event": "an event that does not exist, or that was not recorded or reached when its time was asked for",
    "execution": "the engine failed while it ran on this input",
    "free": "memory freed twice, or an address that was never allocated",
    "freed": "memory used after it was freed, or freed while work still needs it",
    "graph": "a graph that does not exist or was destroyed",
    "host-changed": "a pinned host buffer changed while a copy from it was still to run",
    "host-freed": "a pinned host buffer gone while a copy from or to it was still to run",
    "leak": "device memory that was never freed",
    "no-address": "a tensor without an address",
    "not-waited": "work that nothing waited for: its results are undefined when they are read",
    "pageable": "ordinary memory in an asynchronous copy",
    "race": "two pieces of work on the same bytes with nothing that orders them",
    "shape": "an input's shape outside the profile, or never set",
    "stream": "a stream handle that does not exist or was destroyed",
    "tensor-name": "a name that no tensor of the engine has",
    "too-small": "less memory behind an address than is needed",
    "unwritten": "device memory read before anything was written to it",
}
_LONGEST = 2000
#: What CUDA's errors say, and their numbers (`cudaError_t`); a message ends in one of these.
CODES = {
    "invalid argument": 1,
    "out of memory": 2,
    "initialization error": 3,
    "invalid copy direction for memcpy": 21,
    "invalid device ordinal": 101,
    "invalid device context": 201,
    "invalid resource handle": 400,
    "the operation cannot be performed in the present state": 401,
    "device not ready": 600,
    "an illegal memory access was encountered": 700,
    "unspecified launch failure": 719,
    "operation not permitted when stream is capturing": 900,
    "operation failed due to a previous error during capture": 901,
    "operation would result in a merge of separate capture sequences": 902,
    "capture was not ended in the same stream as it began": 903,
    "capturing stream has unjoined work": 904,
    "dependency created on uncaptured work in another stream": 905,
    "operation would make the legacy stream depend on a capturing blocking stream": 906,
    "operation not permitted on an event last recorded in a capturing stream": 907,
    "attempt to terminate a thread-local capture sequence from another thread": 908,
}
_CODES_OF_KINDS = {"address": 700, "freed": 700, "race": 719, "event": 400, "stream": 400}


class Misuse(Exception):  # noqa: N818 (a misuse is what it is)
    """Host code that a GPU would answer with garbage, an error or a crash.

    Args:
        kind: one of `KINDS`.
        message: one sentence that names the tensor or buffer and says what to do.
        error: the CUDA or TensorRT text that a GPU box would show, where there is one.
        line: the candidate's line, where it is not the one being served.
        silent: whether it follows from an earlier one, and is no finding of its own.
    """

    def __init__(self, kind: str, message: str, error: str = "", line: str = "", silent: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message[:_LONGEST]
        self.error = error
        self.line = line
        self.silent = silent

    @property
    def code(self) -> int:
        """The `cudaError_t` that the runtime API would answer with."""
        by_kind = _CODES_OF_KINDS.get(self.kind, CODES["invalid argument"])
        return next((code for text, code in CODES.items() if self.error.endswith(text)), by_kind)


@dataclass(frozen=True)
class Finding:
    """A misuse and the candidate's line it happened on (``file.py:12``)."""

    kind: str
    message: str
    line: str

    def as_data(self) -> dict[str, str]:
        return {"kind": self.kind, "message": self.message, "line": self.line}
