"""Runs a user's file, or a prompt, with a tier's tensorrt and pycuda. Run by `grader.playground`."""

import code
import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType

sys.path[0] = str(Path(__file__).resolve().parent)

from trtprep_worker.bridge import install  # noqa: E402 (found through the path above)

tier, arguments = sys.argv[1], sys.argv[2:]
install(tier, {})


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The user's traceback as `python FILE` would show it: without the frames of this file and of runpy."""
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)


if arguments:
    sys.excepthook = _show
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")
else:
    import pycuda.driver as cuda
    import tensorrt as trt

    banner = f"TensorRT {trt.__version__} (tier {tier}); `trt` and `cuda` are imported. Ctrl-D leaves."
    code.interact(banner, local={"trt": trt, "cuda": cuda}, exitmsg="")
