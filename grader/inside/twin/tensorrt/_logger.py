"""`trt.ILogger` and `trt.Logger`: they live in the candidate's process and get the device's records."""

from __future__ import annotations

import datetime
import sys

import tensorrt_rtx as _rtx
from trtprep_worker.device_link import connect

_LETTER = {0: "F", 1: "E", 2: "W", 3: "I", 4: "V"}


class ILogger:
    """Subclass it and define ``log(severity, msg)``."""

    Severity = _rtx.ILogger.Severity
    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def log(self, severity: _rtx.ILogger.Severity, msg: str) -> None:
        raise NotImplementedError("define log(severity, msg) in your ILogger")

    def __enter__(self) -> ILogger:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class Logger(ILogger):
    """Prints records of ``min_severity`` and worse to stderr, in TensorRT's format."""

    def __init__(self, min_severity: _rtx.ILogger.Severity = ILogger.WARNING) -> None:
        self.min_severity = min_severity

    def log(self, severity: _rtx.ILogger.Severity, msg: str) -> None:
        if int(severity) <= int(self.min_severity):
            now = datetime.datetime.now().strftime("%m/%d/%Y-%H:%M:%S")
            print(f"[{now}] [TRT] [{_LETTER[int(severity)]}] {msg}", file=sys.stderr)


def listen(logger: ILogger) -> None:
    """Send the device's records to ``logger`` from now on; TensorRT, too, has one logger a process."""
    if not isinstance(logger, ILogger):
        raise TypeError(f"a trt.ILogger is needed, not {type(logger).__name__}")
    severities = {int(s): s for s in ILogger.Severity.__members__.values()}
    connect().log = lambda severity, text: logger.log(severities[severity], text)
